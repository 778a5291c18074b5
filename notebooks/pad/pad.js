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
const ROUND = { lineCap: "round", lineJoin: "round" };
const [PAPER_PEN, PIXEL_PEN] = [17, 2]; // widths of the pen, in 280x280 and in 28x28
const RED = [232, 96, 76]; // black numbers can be read on red and blue
const BLUE = [74, 144, 217];
const FRAME = { strokeStyle: "#d55e00", lineWidth: 2, imageSmoothingEnabled: false };
const STEP = 26; // from one small picture, of a filter or of its responses, to the next
// Always the same noise, normally distributed, so that the picture rests while its slider does.
const random = (n) => Math.abs((Math.sin(12.9898 * (n + 1)) * 43758.5) % 1);
const normal = (n) => Math.sqrt(-2 * Math.log(random(n))) * Math.cos(2 * Math.PI * random(n + 784));
const toOutline = (strokes) => strokes.map((points) => `M${points.join(" ")}h.1`).join("");

function toPath(strokes, matrix) {
  const path = new Path2D();
  path.addPath(new Path2D(toOutline(strokes)), matrix);
  return path;
}

function toPixels(path, matrix) {
  const pen = new OffscreenCanvas(28, 28).getContext("2d", { willReadFrequently: true });
  pen.setTransform(matrix);
  Object.assign(pen, ROUND, { lineWidth: PIXEL_PEN }).stroke(path);
  const { data } = pen.getImageData(0, 0, 28, 28);
  return Float32Array.from({ length: 784 }, (_, n) => Math.min(1, (1.5 * data[4 * n + 3]) / 255));
}

// As in Part V: scale the digit into 20x20 pixels, make its ink 1.5 times as strong, and put its
// centre of mass in the middle. Part V shrinks a picture, and its strokes with it. Here the strokes
// are lines, drawn after scaling, so that they are as wide in a small digit as in a large one.
function prepare(strokes, change) {
  const places = [0, 1].map((axis) => strokes.flat().filter((_, n) => n % 2 === axis));
  const [least, most] = [Math.min, Math.max].map((end) => places.map((axis) => end(...axis)));
  const longest = Math.max(most[0] - least[0], most[1] - least[1], PAPER_PEN / 2); // this, of a dot
  const middle = least.map((start, axis) => -(start + most[axis]) / 2);
  const fit = new DOMMatrix().scale((20 - PIXEL_PEN) / longest).translate(...middle);
  const path = toPath(strokes, fit);
  const ink = toPixels(path, new DOMMatrix().translate(14, 14));
  const mass = ink.reduce((a, b) => a + b);
  const mean = (place) => ink.reduce((sum, value, n) => sum + value * place(n), 0) / mass;
  const centre = [mean((n) => n % 28), mean((n) => Math.floor(n / 28))];
  const shift = centre.map((at) => Math.max(-4, Math.min(4, Math.round(14 - at))));
  const changed = new DOMMatrix()
    .translate(14 + change["moved right"], 14 + change["moved down"])
    .rotate(change.turned)
    .scale(change.size / 100)
    .translate(...shift);
  return toPixels(path, changed);
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

const toGrey = (share) => Array(3).fill(255 * share);
// Blue above 0 and red below, as in the lesson's figure of the filters; 0 is white.
const toColour = (share) =>
  (share < 0 ? RED : BLUE).map((end) => 255 + (end - 255) * Math.abs(share));

// A picture of side x side values, as squares of `zoom` pixels; `toRgb` gives the colour of the nth.
function tile(side, zoom, toRgb) {
  const image = new ImageData(side * zoom, side * zoom);
  const colours = Array.from({ length: side ** 2 }, (_, n) => [...toRgb(n), 255]);
  for (let n = 0; n < image.width ** 2; n++) {
    const row = Math.floor(n / image.width / zoom);
    const column = Math.floor((n % image.width) / zoom);
    image.data.set(colours[side * row + column], 4 * n);
  }
  return image;
}

// While mouse, pen or finger drags over `canvas`, call `move` with its place, and if it begins.
function follow(canvas, move) {
  canvas.onpointerdown = canvas.onpointermove = (event) => {
    if (event.buttons !== 1 || !event.isPrimary) return;
    const begins = event.type === "pointerdown" || !canvas.hasPointerCapture(event.pointerId);
    canvas.setPointerCapture(event.pointerId);
    const scale = canvas.width / canvas.clientWidth;
    move(event.offsetX * scale, event.offsetY * scale, begins);
  };
}

const toButton = (strokes, digit) => `<button aria-label="${digit}">
  <svg viewBox="40 10 200 260"><path d="${toOutline(strokes)}"/></svg></button>`;
const toText = (value) => (Math.round(100 * value) / 100 + 0).toFixed(2); // + 0: never -0.00
// A number on its colour, in black or in white, whichever can be read.
const toCell = (value, colour) => `<span style="background: rgb(${colour});
  color: ${Math.max(...colour) > 116 ? "#000" : "#fff"}">${toText(value)}</span>`;

// Put a pad, which is `html`, in the element `place`. In a shadow, no style of the page reaches it.
async function makePad(place, html, { plain, augmented }) {
  place.dataset.taken = true; // the same output may be in the page twice
  const networks = [await Promise.all(plain.map(unpack)), await Promise.all(augmented.map(unpack))];
  const filters = networks[0][1].length;
  const size = Math.sqrt(networks[0][0].length / filters); // of a filter
  const largest = Math.max(...networks.flatMap(([kernel]) => [...kernel].map(Math.abs)));
  const host = document.createElement("div");
  host.dataset.lmSuppressShortcuts = true; // or JupyterLab takes letters typed here as commands
  const root = host.attachShadow({ mode: "open" });
  root.innerHTML = html;
  const all = (selector) => [...root.querySelectorAll(selector)];
  const [said, status, digits, table, changes, details, choices, under, factors, sum] = all(
    ".said, [role=status], .digits, table, form, details, .numbers, .sum",
  );
  digits.innerHTML = DIGITS.map(toButton).join("");
  const [[undo, clear], [paper, seen, maps, near]] = [all("button"), all("canvas")];
  const { filter, row, column } = choices.elements;
  [filter.max, row.max, column.max] = [filters - 1, 28 - size, 28 - size];
  maps.height = STEP * Math.ceil(filters / 4);
  const [pen, eye, map, lens] = all("canvas").map((canvas) => canvas.getContext("2d"));
  Object.assign(pen, ROUND, { lineWidth: 2 * PAPER_PEN });
  [map, lens].forEach((context) => Object.assign(context, FRAME));
  const drawings = [[]]; // the last one is shown; Undo removes it
  let timer, stroke, held;
  const read = (form) => Object.fromEntries([...new FormData(form)].map(([name, n]) => [name, +n]));
  function set(form, values) {
    for (const name in values) form.elements[name].value = values[name]; // or the nearest it can be
    show();
  }
  function take(drawing) {
    drawings.push(drawing);
    show();
  }
  function show() {
    const strokes = drawings.at(-1);
    pen.clearRect(0, 0, 560, 560);
    pen.stroke(toPath(strokes, new DOMMatrix().scale(2))); // twice the pixels, for sharp screens
    all("i").forEach((number) => (number.textContent = number.previousElementSibling.value));
    const change = read(changes);
    const values = spoil(prepare(strokes, change), change);
    const picture = tile(28, 1, (n) => toGrey(values[n]));
    eye.putImageData(picture, 0, 0);
    const answers = networks.map((network, n) => {
      const { responses, probabilities, answer } = predict(network, values);
      const shares = probabilities.map((probability) => `${Math.round(100 * probability)}%`);
      probabilities.forEach((probability, digit) => {
        const cell = table.rows[digit + 1].cells[n + 1];
        cell.textContent = shares[digit];
        cell.style.setProperty("--share", probability);
      });
      all("b")[n].textContent = answer;
      return { responses, answer, words: `${answer} (${shares[answer]})` };
    });
    table.classList.toggle("empty", !strokes.length);
    const verdict = answers[0].answer === answers[1].answer ? "They agree" : "They disagree";
    const sentence = `${verdict}: plain reads ${answers[0].words}, augmented ${answers[1].words}.`;
    said.textContent = strokes.length ? sentence : "Draw a digit, or take one.";
    if (details.open) look(values, answers);
    clearTimeout(timer); // a screen reader speaks when the pen or a slider stops
    timer = setTimeout(() => (status.textContent = said.textContent), 300);
  }
  // Show the filters beside their responses, and what makes the chosen response.
  function look(values, answers) {
    const { network, filter, row, column } = read(choices);
    const [kernel, biases] = networks[network];
    const { side, values: responses } = answers[network].responses;
    const strongest = Math.max(...responses) || 1;
    map.clearRect(0, 0, maps.width, maps.height);
    for (let n = 0; n < filters; n++) {
      const [x, y] = [2 * STEP * (n % 4), STEP * Math.floor(n / 4)];
      const toWeight = (at) => toColour(kernel[filters * at + n] / largest);
      const toResponse = (at) => toGrey(responses[filters * at + n] / strongest);
      map.putImageData(tile(size, Math.floor(25 / size), toWeight), x, y);
      map.putImageData(tile(side, 1, toResponse), x + STEP, y);
      if (n !== filter) continue;
      map.strokeRect(x - 1, y - 1, 2 * STEP, STEP);
      map.strokeRect(x + STEP + column - 1, y + row - 1, 3, 3);
    }
    lens.drawImage(seen, 0, 0, 224, 224);
    lens.strokeRect(8 * column, 8 * row, 8 * size, 8 * size);
    const at = (n) => 28 * (row + Math.floor(n / size)) + column + (n % size);
    const pixels = Array.from({ length: size ** 2 }, (_, n) => values[at(n)]);
    const weights = pixels.map((_, n) => kernel[filters * n + filter]);
    under.innerHTML = pixels.map((value) => toCell(value, toGrey(value))).join("");
    factors.innerHTML = weights.map((value) => toCell(value, toColour(value / largest))).join("");
    const products = pixels.reduce((total, value, n) => total + value * weights[n], 0);
    const total = products + biases[filter];
    sum.textContent = `The products of both add up to ${toText(products)}. With the bias,
      ${toText(biases[filter])}, that is ${toText(total)}. ReLU makes it ${toText(Math.max(0, total))}.`;
  }
  // The first stroke takes the place of a digit that was not drawn here.
  follow(paper, (x, y, begins) => {
    const strokes = drawings.at(-1);
    if (begins) drawings.push([...(DIGITS.includes(strokes) ? [] : strokes), (stroke = [])]);
    stroke.push(x / 2, y / 2);
    show();
  });
  follow(seen, (x, y, begins) => {
    const { "moved right": right, "moved down": down } = read(changes);
    if (begins) held = [x - right, y - down];
    set(changes, { "moved right": x - held[0], "moved down": y - held[1] });
  });
  follow(maps, (x, y) => {
    const filter = 4 * Math.floor(y / STEP) + Math.floor(x / STEP / 2);
    const inResponses = Math.floor(x / STEP) % 2; // and not in the filter itself
    const place = { row: Math.floor(y % STEP), column: Math.floor(x % STEP) };
    set(choices, inResponses ? { filter, ...place } : { filter });
  });
  follow(near, (x, y) => set(choices, { row: y / 8 - size / 2, column: x / 8 - size / 2 }));
  undo.onclick = () => {
    if (drawings.length > 1) drawings.pop();
    show();
  };
  clear.onclick = () => take([]);
  all(".digits button").forEach((button, n) => (button.onclick = () => take(DIGITS[n])));
  changes.oninput = choices.oninput = details.ontoggle = show;
  changes.onreset = () => setTimeout(show); // the sliders move after this event
  // Start with a digit and a move that plain misreads and augmented reads, if there are such.
  const trials = [3, 4, 5].flatMap((move) => DIGITS.map((digit, n) => ({ digit, n, move })));
  const { digit, move } = trials.find(({ digit, n, move }) => {
    const change = { ...read(changes), "moved right": move, "moved down": move };
    const [one, other] = networks.map((network) => predict(network, prepare(digit, change)));
    return one.answer !== n && other.answer === n;
  }) ?? { digit: DIGITS[4], move: 0 };
  drawings.push(digit);
  set(changes, { "moved right": move, "moved down": move });
  place.replaceChildren(host); // the picture there goes only now
}
