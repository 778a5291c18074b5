// The drawing pad. A drawing becomes 28x28 pixels as MNIST's were made, is changed as the controls
// say, and is read by each network. It is a list of strokes, each x, y, x, y, ... in 280x280.
const DIGITS = [
  "150 50 105 70 80 130 92 200 135 228 180 205 200 140 185 80 148 52",
  "148 48 144 110 139 170 136 232",
  "88 92 108 60 148 52 182 74 178 114 140 160 92 214 88 224 140 222 200 218",
  "88 76 122 54 162 62 172 92 150 122 118 134 160 142 186 174 172 212 130 230 84 214",
  "104 56 92 110 84 152 130 150 196 142, 172 62 166 130 158 232",
  "104 58 98 96 92 130 132 118 172 136 184 176 164 214 122 228 82 212, 104 58 146 56 192 52",
  "172 52 130 86 100 136 90 186 108 222 148 230 178 204 172 168 138 156 104 176 94 194",
  "82 64 130 62 194 58 176 104 152 160 130 232",
  "176 78 142 52 104 70 108 108 146 136 182 172 178 212 138 230 98 208 106 168 150 132 176 78",
  "182 92 156 58 114 62 94 98 108 134 148 136 180 102 184 84 178 150 164 232",
].map((digit) => digit.split(",").map((stroke) => stroke.match(/\d+/g).map(Number)));
const SLIDERS = [
  ["moved right", "px", -8, 8, 0], // name, unit, least, most, at first
  ["moved down", "px", -8, 8, 0],
  ["turned", "&deg;", -60, 60, 0],
  ["size", "%", 40, 120, 100],
  ["grey paper", "%", 0, 90, 0],
  ["noisy", "%", 0, 80, 0],
];
const SWITCHES = ["black on white", "crossed out", "ringed", "cut off"];
const ROUND = { lineWidth: 20, lineCap: "round", lineJoin: "round" };
// Always the same noise, normally distributed, so that the picture rests while its slider does.
const random = (n) => Math.abs((Math.sin(12.9898 * (n + 1)) * 43758.5) % 1);
const normal = (n) => Math.sqrt(-2 * Math.log(random(n))) * Math.cos(2 * Math.PI * random(n + 784));
const toPath = (strokes) => strokes.map((points) => `M${points.join(" ")}h.1`).join("");

function toPixels(strokes, matrix) {
  const pen = new OffscreenCanvas(28, 28).getContext("2d", { willReadFrequently: true });
  pen.setTransform(matrix);
  Object.assign(pen, ROUND).stroke(new Path2D(toPath(strokes)));
  const { data } = pen.getImageData(0, 0, 28, 28);
  return Float32Array.from({ length: 784 }, (_, n) => data[4 * n + 3] / 255);
}

// As in Part V: scale the digit into 20x20 pixels, and put its centre of mass in the middle.
function prepare(strokes, change) {
  const [x, y] = [0, 1].map((axis) => strokes.flat().filter((_, n) => n % 2 === axis));
  const [left, right] = [Math.min(...x) - 10, Math.max(...x) + 10];
  const [top, bottom] = [Math.min(...y) - 10, Math.max(...y) + 10];
  const scale = 20 / Math.max(right - left, bottom - top);
  const fit = new DOMMatrix().scale(scale).translate(-(left + right) / 2, -(top + bottom) / 2);
  const ink = toPixels(strokes, new DOMMatrix().translate(14, 14).multiply(fit));
  const mass = ink.reduce((a, b) => a + b);
  const mean = (place) => ink.reduce((sum, value, n) => sum + value * place(n), 0) / mass;
  const centre = [mean((n) => n % 28), mean((n) => Math.floor(n / 28))];
  const shift = centre.map((at) => Math.max(-4, Math.min(4, Math.round(14 - at))));
  const changed = new DOMMatrix()
    .translate(14 + change["moved right"], 14 + change["moved down"])
    .rotate(change.turned)
    .scale(change.size / 100)
    .translate(...shift);
  return toPixels(strokes, changed.multiply(fit));
}

// Change pixels by arithmetic, as Part III does.
function spoil(ink, change) {
  return ink.map((value, n) => {
    const [down, right] = [Math.floor(n / 28) - 13.5, (n % 28) - 13.5];
    if (change["crossed out"] && Math.abs(down - 1) < 1) value = 1;
    if (change.ringed && Math.abs(Math.hypot(down, right) - 13) < 0.8) value = 1;
    if (change["cut off"] && down >= 5) value = 0;
    value += ((1 - value) * change["grey paper"] + normal(n) * change.noisy) / 100;
    value = Math.max(0, Math.min(1, value));
    return change["black on white"] ? 1 - value : value;
  });
}

// Show the channels of `values` as tiles in rows of `columns`; the brightest value is white.
function paint(canvas, { side, values }, columns = 1, brightest = 1) {
  const depth = values.length / side ** 2;
  canvas.width = columns * (side + 1) - 1;
  canvas.height = Math.ceil(depth / columns) * (side + 1) - 1;
  for (let channel = 0; channel < depth; channel++) {
    const tile = new ImageData(side, side);
    for (let n = 0; n < side ** 2; n++) {
      const grey = (255 * values[n * depth + channel]) / brightest;
      tile.data.set([grey, grey, grey, 255], 4 * n);
    }
    const [row, column] = [Math.floor(channel / columns), channel % columns];
    canvas.getContext("2d").putImageData(tile, column * (side + 1), row * (side + 1));
  }
}

const repeat = (list, toHtml) => list.map(toHtml).join("");
const toButton = (strokes, digit) => `<button aria-label="${digit}">
  <svg viewBox="40 10 200 260"><path d="${toPath(strokes)}"/></svg></button>`;
const toSlider = ([name, unit, least, most, first]) => `<label>${name} <input type="range"
  name="${name}" min="${least}" max="${most}" value="${first}">
  <i aria-hidden="true" data-unit="${unit}"></i></label>`;
const toSwitch = (name) => `<label><input type="checkbox" name="${name}" value="1">${name}</label>`;
const toRow = (_, digit) => `<tr><th scope="row">${digit}</th><td></td><td></td></tr>`;
const PAD = `<div class="pad" tabindex="-1">
  <canvas class="paper" width="560" height="560" role="img" aria-label="Drawing pad"></canvas>
  <p style="grid-area: tools"><button>Undo</button> <button>Clear</button></p>
  <figure style="grid-area: seen"><canvas role="img" aria-label="The 28x28 pixels"></canvas>
    what both networks get: 28x28 pixels</figure>
  <p class="digits" role="group" aria-label="Take a digit">${repeat(DIGITS, toButton)}</p>
  <div style="grid-area: answer"><table>
    <tr><td></td><th scope="col">plain <b></b></th><th scope="col">augmented <b></b></th></tr>
    ${repeat(DIGITS, toRow)}</table><p role="status"></p></div>
  <form style="grid-area: form" aria-label="Change the digit">
    ${repeat(SLIDERS, toSlider)}${repeat(SWITCHES, toSwitch)}
    <button type="reset">Reset</button></form>
  <details style="grid-area: maps"><summary>The first layer's responses</summary>
    <figure><canvas role="img" aria-label="First layer, plain"></canvas>plain</figure>
    <figure><canvas role="img" aria-label="First layer, augmented"></canvas>augmented</figure>
  </details></div>`;

// Put a pad in place of what `place` shows. In a shadow, no style of the page reaches it.
async function makePad(place, css, { plain, augmented }) {
  const networks = [await Promise.all(plain.map(unpack)), await Promise.all(augmented.map(unpack))];
  const root = place.attachShadow({ mode: "open" });
  root.innerHTML = `<style>${css}</style>${PAD}`;
  place.dataset.lmSuppressShortcuts = true; // or JupyterLab takes letters typed here as commands
  const all = (selector) => [...root.querySelectorAll(selector)];
  const [[paper, seen, ...maps], [undo, clear]] = [all("canvas"), all("button")];
  const [table, status, form, details] = all("table, [role=status], form, details");
  const pen = Object.assign(paper.getContext("2d"), ROUND);
  pen.scale(2, 2); // twice as many pixels, for sharp screens
  let strokes, stroke, timer;
  function show(drawing) {
    strokes = drawing;
    pen.clearRect(0, 0, 280, 280);
    pen.stroke(new Path2D(toPath(strokes)));
    all("i").forEach((number) => (number.textContent = number.previousElementSibling.value));
    const change = Object.fromEntries([...new FormData(form)].map(([name, n]) => [name, +n]));
    const ink = strokes.length ? prepare(strokes, change) : new Float32Array(784);
    const values = spoil(ink, change);
    paint(seen, { side: 28, values });
    const answers = networks.map((weights, n) => {
      const { responses, probabilities } = predict(weights, values);
      if (details.open) paint(maps[n], responses, 4, Math.max(...responses.values));
      const answer = probabilities.indexOf(Math.max(...probabilities));
      all("b")[n].textContent = answer;
      probabilities.forEach((probability, digit) => {
        const cell = table.rows[digit + 1].cells[n + 1];
        cell.textContent = `${Math.round(100 * probability)}%`;
        cell.style.setProperty("--share", probability);
      });
      return answer;
    });
    table.classList.toggle("empty", !strokes.length);
    const verdict = answers[0] === answers[1] ? "They agree" : "They disagree";
    const sentence = `${verdict}: plain reads ${answers[0]}, augmented reads ${answers[1]}.`;
    const words = strokes.length ? sentence : "Draw a digit, or take one.";
    clearTimeout(timer); // a screen reader speaks when the pen or a slider stops
    timer = setTimeout(() => (status.textContent = words), 300);
  }
  paper.onpointerdown = paper.onpointermove = (event) => {
    if (event.buttons !== 1 || !event.isPrimary) return;
    // The first stroke takes the place of a digit that was not drawn here.
    if (!stroke) strokes = [...(DIGITS.includes(strokes) ? [] : strokes), (stroke = [])];
    paper.setPointerCapture(event.pointerId);
    stroke.push(...[event.offsetX, event.offsetY].map((at) => (at * 280) / paper.clientWidth));
    show(strokes);
  };
  paper.onlostpointercapture = () => (stroke = null);
  undo.onclick = () => show(strokes.slice(0, -1));
  clear.onclick = () => show([]);
  all(".digits button").forEach((button, n) => (button.onclick = () => show(DIGITS[n])));
  form.oninput = details.ontoggle = () => show(strokes);
  form.onreset = () => setTimeout(show, 0, strokes); // the sliders move after this event
  show(DIGITS[4]);
}
