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
    let following = false
    const follow = () => {
      if (following) return
      following = true
      for (const widget of numbers) {
        const value = wanted(widget)
        widget.disabled = value !== undefined
        if (value !== undefined && !linked(node, widget)) set(widget, value)
      }
      for (const outside of outsides(node.graph)) showPromoted(outside, [preset, ...numbers])
      app.canvas?.setDirty(true, true)
      following = false
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

/** The subgraph nodes, at any depth, that may show widgets of a node of this graph on their outside. */
function outsides(graph, root = app.rootGraph ?? app.graph) {
  if (!graph || graph === root) return []
  const graphs = [root, ...(root?.subgraphs?.values() ?? [])]
  const nodes = graphs.flatMap((each) => each?.nodes ?? []).filter((each) => each.subgraph === graph)
  return nodes.flatMap((each) => [each, ...outsides(each.graph, root)])
}

/** Let the widgets that a subgraph node shows of these take note of their values; Nodes 2.0 keeps copies. */
function showPromoted(outside, widgets) {
  for (const shown of outside.widgets ?? []) {
    const inner = widgets.find(({ name }) => shown.name === name || shown.name.endsWith(`: ${name}`))
    if (inner && shown.value === inner.value) shown.callback?.(shown.value)
  }
}

/** Draw the value of a greyed widget too; the canvas leaves it out. */
function showWhenDisabled(widget) {
  if (!('_displayValue' in widget)) return
  const text = () => {
    const { value, options } = widget
    return typeof value === 'number' ? value.toFixed(options?.precision ?? 3) : String(value)
  }
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
