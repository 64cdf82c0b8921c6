// A surface drawn on a plain canvas: its quadrilaterals from the farthest to the nearest, then the paths above them.

const { axis, surface, minimum, paths } = JSON.parse(document.getElementById("content").textContent);
const canvas = document.getElementById("surface");
const slider = document.getElementById("step");
const rows = new Map([...document.querySelectorAll("tr[data-path]")].map((row) => [row.dataset.path, row]));
const start = { turn: -0.9, tilt: 0.6, zoom: 1 };
const view = { ...start };
const highest = Math.sqrt(Math.max(...surface.flat()));
const edge = axis[axis.length - 1];
// Eight colours of viridis, dark to light.
const viridis = [[68, 1, 84], [70, 50, 126], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 193, 109], [160, 218, 57], [253, 231, 37]];

function colour(share) {
  const at = Math.min(Math.max(share, 0), 1) * (viridis.length - 1);
  const low = Math.min(Math.floor(at), viridis.length - 2);
  const mixed = viridis[low].map((value, i) => Math.round(value + (viridis[low + 1][i] - value) * (at - low)));
  return `rgb(${mixed.join(" ")})`;
}

// w1, w2 and loss -> the canvas, and the depth, larger when nearer.
function project(w1, w2, loss) {
  const [x, y, z] = [w1 / edge, w2 / edge, Math.sqrt(loss) / highest - 0.3];
  const [cosine, sine] = [Math.cos(view.turn), Math.sin(view.turn)];
  const right = -x * sine + y * cosine;
  const near = x * cosine + y * sine;
  const up = z * Math.cos(view.tilt) - near * Math.sin(view.tilt);
  const depth = z * Math.sin(view.tilt) + near * Math.cos(view.tilt);
  const scale = (Math.min(canvas.clientWidth, canvas.clientHeight) * 0.31 * view.zoom * 4) / (4 - depth);
  return [canvas.clientWidth / 2 + right * scale, canvas.clientHeight / 2 - up * scale, depth];
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.lineJoin = "round";
  const style = getComputedStyle(document.documentElement);
  drawSurface(context);
  drawFrame(context, style.getPropertyValue("--soft"));
  for (const path of paths) {
    if (rows.get(path.name).querySelector("input").checked) drawPath(context, path, style.getPropertyValue(`--${path.name}`));
  }
  drawMinimum(context);
}

function drawSurface(context) {
  const corners = axis.map((w2, row) => axis.map((w1, column) => project(w1, w2, surface[row][column])));
  const cells = [];
  for (let row = 0; row + 1 < axis.length; row++) {
    for (let column = 0; column + 1 < axis.length; column++) {
      const around = [corners[row][column], corners[row][column + 1], corners[row + 1][column + 1], corners[row + 1][column]];
      const loss = (surface[row][column] + surface[row + 1][column + 1]) / 2;
      cells.push({ around, depth: around.reduce((sum, corner) => sum + corner[2], 0), share: Math.sqrt(loss) / highest });
    }
  }
  cells.sort((a, b) => a.depth - b.depth);
  context.globalAlpha = 0.85;
  context.lineWidth = 0.5;
  for (const { around, share } of cells) {
    context.beginPath();
    for (const [x, y] of around) context.lineTo(x, y);
    context.closePath();
    context.fillStyle = context.strokeStyle = colour(share);
    context.fill();
    context.stroke();
  }
  context.globalAlpha = 1;
}

function drawFrame(context, ink) {
  const floor = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([a, b]) => project(a * edge, b * edge, 0));
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 1;
  context.beginPath();
  for (const [x, y] of floor) context.lineTo(x, y);
  context.closePath();
  context.stroke();
  context.font = "14px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const [text, a, b] of [["w₁", 0, -1.12], ["−10", -1, -1.12], ["10", 1, -1.12], ["w₂", 1.12, 0], ["10", 1.12, 1]]) {
    const [x, y] = project(a * edge, b * edge, 0);
    context.fillText(text, x, y);
  }
}

function drawPath(context, path, ink) {
  const shown = path.points.slice(0, Number(slider.value) + 1).map(([w1, w2], step) => project(w1, w2, path.losses[step]));
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 2;
  context.beginPath();
  for (const [x, y] of shown) context.lineTo(x, y);
  context.stroke();
  for (const [x, y] of shown.slice(0, -1)) dot(context, x, y, 1.8);
  dot(context, ...shown[shown.length - 1].slice(0, 2), 5);
}

function drawMinimum(context) {
  const [x, y] = project(...minimum, 0);
  context.strokeStyle = "#000";
  context.fillStyle = "#fff";
  context.lineWidth = 1.5;
  dot(context, x, y, 4);
  context.stroke();
}

function dot(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function tell() {
  document.getElementById("count").value = slider.value;
  for (const path of paths) {
    const [, w1, w2, loss] = rows.get(path.name).cells;
    const [a, b] = path.points[slider.value];
    [w1.textContent, w2.textContent] = [a.toFixed(3), b.toFixed(3)];
    loss.textContent = path.losses[slider.value].toFixed(4);
  }
}

function turn(right, down) {
  view.turn -= right;
  view.tilt = Math.min(Math.max(view.tilt + down, 0.02), Math.PI / 2);
  draw();
}

function zoom(factor) {
  view.zoom = Math.min(Math.max(view.zoom * factor, 0.5), 6);
  draw();
}

const fingers = new Map(); // by pointer: the place it was last seen at
canvas.addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const spread = apart();
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (fingers.size === 1) turn((event.clientX - before[0]) * 0.01, (event.clientY - before[1]) * 0.01);
  else if (spread > 0) zoom(apart() / spread);
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * 0.001));
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const keys = {
    ArrowLeft: () => turn(-0.08, 0),
    ArrowRight: () => turn(0.08, 0),
    ArrowUp: () => turn(0, -0.08),
    ArrowDown: () => turn(0, 0.08),
    "+": () => zoom(1.1),
    "=": () => zoom(1.1),
    "-": () => zoom(1 / 1.1),
    Home: () => { Object.assign(view, start); draw(); },
  };
  if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
});

function apart() {
  const [a, b] = [...fingers.values()];
  return a && b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
}

slider.addEventListener("input", () => { tell(); draw(); });
for (const row of rows.values()) row.querySelector("input").addEventListener("change", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new ResizeObserver(draw).observe(canvas);
tell();
draw();
