// The page is complete without this: here are the values under the pointer, the finger or the arrow keys.

for (const figure of document.querySelectorAll("figure.curves")) readable(figure);

function readable(figure) {
  const area = figure.querySelector(".area");
  const [tip, rule] = [area.querySelector(".tip"), area.querySelector(".rule")];
  const [first, last] = [Number(figure.dataset.first), Number(figure.dataset.last)];
  const lines = [...area.querySelectorAll("path.line")].reverse().map((path) => ({
    name: [path.dataset.name, path.dataset.part].filter(Boolean).join(", "),
    values: JSON.parse(path.dataset.values),
  }));
  let at = null;

  const show = (epoch) => {
    at = Math.min(Math.max(epoch, first), last);
    const rows = lines
      .map((line) => ({ line, found: nearest(line.values, at) }))
      .filter(({ found }) => found[0] === at)
      .map(({ line, found }) => {
        const spread = found[2] === null ? "" : ` ± ${number(found[2])}`;
        return `${line.name ? line.name + ": " : ""}${number(found[1])}${spread}`;
      });
    const left = first === last ? 50 : (100 * (at - first)) / (last - first);
    tip.value = [`epoch ${at.toLocaleString("en")}`, ...rows].join("\n");
    tip.hidden = rule.hidden = false;
    rule.style.left = `${left}%`;
    tip.style.cssText = left > 50 ? `right:${100 - left}%` : `left:${left}%`;
  };
  const clear = () => {
    at = null;
    tip.hidden = rule.hidden = true;
  };
  area.onpointermove = area.onpointerdown = (event) => {
    const box = area.getBoundingClientRect();
    show(Math.round(first + ((last - first) * (event.clientX - box.left)) / box.width));
  };
  area.onpointerleave = area.onblur = clear;
  area.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(at === null ? (step > 0 ? first : last) : at + step);
  };
}

function number(value) {
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : value.toFixed(4);
}
