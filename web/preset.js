// The numbers of a preset stand in the widgets that it sets. They are greyed, as they do not count there; "custom" frees
// them. Where preset comes from a link or from the outside of a subgraph, only the server knows it: its message on the
// node names the numbers that ran.

import { app } from '../../scripts/app.js'

const NODES = new Set(['FastVMTApplyMotion', 'FastVMTSampler'])
const CUSTOM = 'custom'

app.registerExtension({
  name: 'FastVMT.Preset',

  nodeCreated(node) {
    const preset = NODES.has(node.comfyClass) && node.widgets?.find((widget) => widget.name === 'preset')
    const presets = preset && node.constructor.nodeData?.input?.required?.preset?.[1]?.presets
    if (!presets) return
    const names = new Set(Object.values(presets).flatMap(Object.keys))
    const numbers = node.widgets.filter((widget) => names.has(widget.name))
    for (const widget of numbers) showWhenDisabled(widget)
    const wanted = (widget) => (linked(node, preset) ? undefined : presets[preset.value]?.[widget.name])
    const follow = () => {
      for (const widget of numbers) {
        const value = wanted(widget)
        disable(widget, value !== undefined)
        if (value !== undefined && !linked(node, widget)) set(widget, value)
      }
      node.setDirtyCanvas?.(true, true)
    }
    after(preset, 'callback', follow)
    // A loaded workflow sets values without a call to their widgets.
    after(node, 'onConfigure', follow)
    after(node, 'onConnectionsChange', follow)
    for (const widget of numbers) {
      // From the outside of a subgraph or by a script, a number can change all the same: then it is meant to count.
      after(widget, 'callback', () => {
        const value = wanted(widget)
        if (value !== undefined && widget.value !== value) set(preset, CUSTOM)
      })
    }
    follow()
  }
})

/** Whether a link decides a widget's value. */
function linked(node, widget) {
  return node.inputs?.some((slot) => slot.widget?.name === widget.name && slot.link != null) ?? false
}

/** Grey a widget, or free it, on the canvas and in Nodes 2.0. */
function disable(widget, disabled) {
  widget.disabled = disabled
  widget.options = { ...widget.options, disabled }
}

/** Draw the value of a greyed number too; the canvas leaves it out. */
function showWhenDisabled(widget) {
  if (!('_displayValue' in widget)) return
  const text = () => Number(widget.value).toFixed(widget.options?.precision ?? 3)
  Object.defineProperty(widget, '_displayValue', { configurable: true, get: text })
}

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
