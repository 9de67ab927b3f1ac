// Elements that draw themselves anew when their size changes.

/** Call `act` whenever the element's size changes; returns the function that ends it. */
export function whenResized(element, act) {
  const observer = new ResizeObserver(act)
  observer.observe(element)
  return () => observer.disconnect()
}
