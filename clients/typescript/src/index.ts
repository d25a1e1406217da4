/**
 * A CloudPal database as an abstract-level database. The README of this package shows how it is used.
 */
export { Client } from './client.js'
export type { ClientEvents, ClientOptions, FindOptions, Page, Place, QueueChoice } from './client.js'
export { CloudpalError } from './error.js'
export type { ErrorCode } from './error.js'
export { cursorOf } from './feed.js'
export type { FeedOptions } from './feed.js'
export { CloudpalLevel } from './level.js'
export type { Change, Conflict, Durability, FindRange, LevelOptions, Term, Version, WriteOptions } from './level.js'
export type { WritePromise, WriteState } from './receipt.js'
export type { Member, RawConflict, RawVersion } from './told.js'
export type { Kind, Origin, RawChange, Start, Step, Sub } from './wire/messages.js'
