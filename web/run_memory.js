// What the panels of a job were sent: of the running one, should the page be loaded again, and of each workflow's last
// one, for when the user returns to it. Each tab of the browser has its own.

const KEY = 'FastVMT.run'
const WRITE_MS = 1000

let run = read()
let timer = null
/** The last run of each workflow that has ended since the page was loaded, by the workflow's id. */
const ended = new Map()
addEventListener('pagehide', write)

/** A job begins. */
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
  else {
    const { flow = null } = data
    if (event === 'inner_steps') node.inner_steps.push({ ...noted, flow: null })
    else node.latest[event] = { ...noted, flow: flow ?? node.latest[event]?.flow }
    // Of the flows the last one is enough.
    if (event === 'inner_steps' && flow) node.latest.guided_step = noted
  }
  keep()
}

/** Whether a job is noted that had not ended when it was last heard of. */
export function runsStill() {
  return run !== null
}

/**
 * What was noted in this graph of the job that runs, or of its last one, as [event, data] in an order in which new
 * panels take it.
 */
export function recall(running, graph) {
  const runs = run && running.includes(run.job) && run.graph === graph
  const { nodes = {}, ending } = (runs ? run : ended.get(graph)) ?? {}
  return Object.entries(nodes).flatMap(([node, { settings, guidance, inner_steps, latest }]) =>
    [
      ['settings', settings],
      ['guidance', guidance],
      ...inner_steps.map((data) => ['inner_steps', data]),
      ...Object.entries(latest),
      // Of a panel that is done already it changes nothing.
      ['ended', ending && { ...ending, node }]
    ]
      .filter(([, data]) => data)
      .map(([event, data]) => [event, { ...data, seconds_left: left(data), started: data.noted }])
  )
}

/** The job has ended. What its panels show is kept until the page is loaded again; a job that guided nothing has none. */
export function end(well) {
  if (run?.graph !== undefined && Object.keys(run.nodes).length) {
    ended.set(run.graph, { ...run, ending: { well, noted: Date.now() } })
  }
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
