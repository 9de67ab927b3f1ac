// Greys out the widgets whose values a preset replaces, so that nobody turns them in vain.

import { app } from '../../scripts/app.js'

const NODES = new Set(['FastVMTApplyMotion', 'FastVMTSampler'])
const REPLACED = new Set(['inner_steps', 'lr_start', 'lr_end', 'gradient_interval', 'end_percent'])
const CUSTOM = 'custom'

app.registerExtension({
  name: 'FastVMT.Preset',

  nodeCreated(node) {
    const preset = NODES.has(node.comfyClass) && node.widgets?.find((widget) => widget.name === 'preset')
    if (!preset) return
    after(preset, 'callback', () => show(node, preset))
    // A loaded workflow sets values without a word to their widgets.
    after(node, 'onConfigure', () => show(node, preset))
  }
})

function show(node, preset) {
  for (const widget of node.widgets) {
    if (REPLACED.has(widget.name)) widget.disabled = preset.value !== CUSTOM
  }
  node.setDirtyCanvas(true)
}

/** Do something after a method of an object, whoever has set it. */
function after(owner, method, act) {
  const before = owner[method]
  owner[method] = function (...given) {
    const result = before?.apply(this, given)
    act()
    return result
  }
}
