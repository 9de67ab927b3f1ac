// Names of our nodes' inputs in the user's language. The page does this itself, but some of its versions load their own
// words of a language after ours, and lose ours with that.

import { app } from '../../scripts/app.js'
import { loadWords, wordsOf } from './words.js'

app.registerExtension({
  name: 'FastVMT.Translate',
  init: loadWords,
  nodeCreated: translate,
  loadedGraphNode: translate
})

/** Name what still has its English name; names that a user gave stay. */
function translate(node) {
  const words = /^(FastVMT|TinyWan)/.test(node.comfyClass ?? '') && wordsOf(node.comfyClass)
  if (!words) return
  if (words.display_name && node.title === node.constructor.nodeData?.display_name) {
    node.title = words.display_name
    // Only a title that differs from this one is saved: a workflow must not carry one user's language to another.
    node.constructor.title = words.display_name
  }
  for (const widget of node.widgets ?? []) {
    const word = words.inputs?.[widget.name]
    if (!word) continue
    if (!widget.label || widget.label === widget.name) widget.label = word.name
    widget.tooltip = word.tooltip
  }
  for (const slot of node.inputs ?? []) name(slot, words.inputs?.[slot.name]?.name)
  for (const [index, slot] of (node.outputs ?? []).entries()) name(slot, words.outputs?.[index]?.name)
}

function name(slot, word) {
  if (word && (!slot.localized_name || slot.localized_name === slot.name)) slot.localized_name = word
}
