// The suite in a page. `settings` is there before this script runs, `report` takes what came of it.
import suite from 'abstract-level/test'
import test from 'tape'
import * as level from 'cloudpal-level'
import { count, plan } from './plan.mjs'

count(test, (sums) => globalThis.report({ ...sums, loaded: globalThis.loaded }))
plan({ level, suite, test, ...globalThis.settings })
