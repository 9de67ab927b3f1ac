// A preset's values stand in the widgets that it replaces; whoever turns one of these goes on from there as "custom".

import { app } from '../../scripts/app.js'

const NODES = new Set(['FastVMTApplyMotion', 'FastVMTSampler'])
const CUSTOM = 'custom'

app.registerExtension({
  name: 'FastVMT.Preset',

  nodeCreated(node) {
    const preset = NODES.has(node.comfyClass) && node.widgets?.find((widget) => widget.name === 'preset')
    const presets = preset && node.constructor.nodeData?.input?.optional?.preset?.[1]?.presets
    if (!presets) return
    const names = new Set(Object.values(presets).flatMap(Object.keys))
    const replaced = node.widgets.filter((widget) => names.has(widget.name))
    const wanted = (widget) => presets[preset.value]?.[widget.name] ?? widget.value
    const follow = () => replaced.forEach((widget) => set(widget, wanted(widget)))
    after(preset, 'callback', follow)
    // A loaded workflow sets values without a word to their widgets.
    after(node, 'onConfigure', follow)
    for (const widget of replaced) {
      after(widget, 'callback', () => {
        if (widget.value !== wanted(widget)) set(preset, CUSTOM)
      })
    }
  }
})

/** Change a widget as a user would, so that every view of it takes note. */
function set(widget, value) {
  if (widget.value === value) return
  widget.value = value
  widget.callback?.(value)
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
