// What scripts written for Node.js find without asking.
export { Buffer } from 'buffer/'
export { default as process } from 'process/browser.js'
