/** What is called to draw everything; set by `main.js`. */
let paint = () => {};
let isAsked = false;

/** Says how the page is drawn. */
export function painted(by) {
  paint = by;
}

/** Draws the page, soon and once, however often it is asked for. A page that nobody sees is drawn as well, for its title. */
export function repaint() {
  if (isAsked) return;
  isAsked = true;
  const run = () => {
    isAsked = false;
    paint();
  };
  if (document.hidden) setTimeout(run, 100);
  else requestAnimationFrame(run);
}

/** Runs something when what was asked for is drawn. */
export function afterPaint(work) {
  repaint();
  if (document.hidden) setTimeout(work, 150);
  else requestAnimationFrame(() => requestAnimationFrame(work));
}
