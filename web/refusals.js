// Tells the user when the host ran a part of a workflow and refused a node of ours. The host itself shows a message only
// where nothing can run; else its job counts as a success, and a red outline is all that shows.

import { app } from '../../scripts/app.js'
import { loadWords, say, wordsOf } from './words.js'

const OURS = /^(FastVMT|TinyWan)/
const SHOWN_MS = 30000
let shown = false

app.registerExtension({
  name: 'FastVMT.Refusals',

  init: loadWords,

  nodeCreated(node) {
    const widget = node.widgets?.[0]
    if (!OURS.test(node.comfyClass) || !widget) return
    // Called for each node of a job that the host has taken.
    const queued = widget.afterQueued
    widget.afterQueued = function (...given) {
      show()
      return queued?.apply(this, given)
    }
  }
})

/** One message for all nodes of ours that the host refused in the job that it has just taken. */
function show() {
  if (shown) return
  shown = true
  queueMicrotask(() => (shown = false))
  const refused = Object.values(app.lastNodeErrors ?? {}).filter(({ class_type }) => OURS.test(class_type))
  if (!refused.length) return
  const lines = refused.flatMap(({ class_type, errors }) => errors.map((error) => `${nameOf(class_type)}: ${text(error)}`))
  app.extensionManager?.toast?.add({
    severity: 'error',
    summary: say('refused'),
    detail: lines.join('\n'),
    life: SHOWN_MS
  })
}

/** A node's own words of what is wrong, or the host's. */
function text({ type, message, details = '' }) {
  // The host puts the input's name before them.
  if (type === 'custom_validation_failed') return details.replace(/^.*? - /, '')
  return [message, details].filter(Boolean).join(': ')
}

function nameOf(type) {
  return wordsOf(type)?.display_name ?? window.LiteGraph?.registered_node_types[type]?.title ?? type
}
