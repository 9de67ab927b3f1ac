// What the panels of the running job were sent, should the page be loaded again while it runs. Each tab has its own.

const KEY = 'FastVMT.run'
const WRITE_MS = 1000

let run = read()
let timer = null
addEventListener('pagehide', write)

/** A job begins: nothing of an earlier one is kept. */
export function begin(job, graph) {
  run = { job, graph, nodes: {} }
  keep()
}

/** Note one of the server's messages for a node. */
export function remember(event, data) {
  if (!run) return
  const noted = { ...data, noted: Date.now() }
  const node = (run.nodes[data.node] ??= { inner_steps: [], latest: {} })
  if (event === 'settings') node.settings = noted
  else if (event === 'guidance') Object.assign(node, { guidance: noted, inner_steps: [], latest: {} })
  else if (event === 'sampled') delete run.nodes[data.node]
  else {
    const { flow = null } = data
    if (event === 'inner_steps') node.inner_steps.push({ ...noted, flow: null })
    else node.latest[event] = { ...noted, flow: flow ?? node.latest[event]?.flow }
    // Of the flows the last one is enough.
    if (event === 'inner_steps' && flow) node.latest.guided_step = noted
  }
  keep()
}

/** Whether anything is noted. */
export function remembers() {
  return run !== null
}

/** What was noted of a job that still runs, in this graph, as [event, data] in an order in which new panels take it. */
export function recall(running, graph) {
  if (!run || !running.includes(run.job) || run.graph !== graph) return []
  return Object.values(run.nodes).flatMap(({ settings, guidance, inner_steps, latest }) =>
    [
      ['settings', settings],
      ['guidance', guidance],
      ...inner_steps.map((data) => ['inner_steps', data]),
      ...Object.entries(latest)
    ]
      .filter(([, data]) => data)
      .map(([event, data]) => [event, { ...data, seconds_left: left(data), started: data.noted }])
  )
}

/** The job has ended. */
export function forget() {
  run = null
  write()
}

function left({ seconds_left, noted }) {
  return seconds_left ? Math.max(0, seconds_left - (Date.now() - noted) / 1000) : seconds_left
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY))
  } catch {
    return null
  }
}

function keep() {
  timer ??= setTimeout(write, WRITE_MS)
}

function write() {
  clearTimeout(timer)
  timer = null
  if (!run) return sessionStorage.removeItem(KEY)
  try {
    sessionStorage.setItem(KEY, JSON.stringify(run))
  } catch {
    // The tab's room is used up: what an earlier moment wrote is shown after the page is loaded again.
  }
}
