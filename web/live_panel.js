// Puts the panel on the nodes that guide, and hands it the server's messages.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { useStyles } from './dom.js'
import { GuidancePanel } from './panel.js'
import { begin, end, recall, remember, runsStill } from './run_memory.js'
import { loadWords } from './words.js'

const NODES = new Set(['FastVMTApplyMotion', 'FastVMTSampler'])
const EVENTS = ['settings', 'guidance', 'step', 'inner_steps', 'guided_step', 'picture', 'sampled']
const WIDGET = 'fastvmt_panel'
const HEIGHT = 320

app.registerExtension({
  name: 'FastVMT.LivePanel',

  async setup() {
    for (const event of EVENTS) {
      api.addEventListener(`fastvmt.${event}`, ({ detail }) => {
        remember(event, detail)
        panelOf(detail.node)?.take(event, detail)
      })
    }
    api.addEventListener('execution_start', ({ detail }) => begin(detail.prompt_id, graphId()))
    api.addEventListener('execution_success', () => endAll(true))
    api.addEventListener('execution_error', () => endAll(false))
    api.addEventListener('execution_interrupted', () => endAll(false))
  },

  async init() {
    useStyles()
    await loadWords()
  },

  /** A page that was loaded again in the middle of a run goes on showing it. A workflow shows its last run again. */
  async afterConfigureGraph() {
    const queue = runsStill() ? await (await api.fetchApi('/queue')).json() : {}
    const running = (queue.queue_running ?? []).map(([, job]) => job)
    for (const [event, data] of recall(running, graphId())) panelOf(data.node)?.take(event, data)
  },

  nodeCreated(node) {
    if (!NODES.has(node.comfyClass)) return
    const panel = new GuidancePanel()
    const widget = node.addDOMWidget(WIDGET, WIDGET, panel.element, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => HEIGHT,
      getValue: () => '',
      setValue: () => {}
    })
    // Neither saved nor sent: it shows a run, it does not belong to the graph.
    widget.serialize = false
    widget.fastvmtPanel = panel
    const removed = node.onRemoved
    node.onRemoved = function (...given) {
      panel.remove()
      return removed?.apply(this, given)
    }
  }
})

/** Tells one workflow from another; undefined where the page does not. */
function graphId() {
  return (app.rootGraph ?? app.graph)?.id
}

/** The panel of a node by its execution id, such as 7, or 3:7 inside a subgraph. */
function panelOf(id) {
  let graph = app.rootGraph ?? app.graph
  let node = null
  for (const part of String(id).split(':')) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part))
    graph = node?.subgraph
  }
  return node?.widgets?.find((widget) => widget.name === WIDGET)?.fastvmtPanel
}

function endAll(well) {
  end(well)
  const visit = (graph) => {
    for (const node of graph?.nodes ?? []) {
      node.widgets?.find((widget) => widget.name === WIDGET)?.fastvmtPanel?.end(well)
      if (node.subgraph) visit(node.subgraph)
    }
  }
  visit(app.rootGraph ?? app.graph)
}
