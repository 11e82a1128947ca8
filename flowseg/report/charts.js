"use strict";

function make(tag, attributes = {}, ...children) {
  const drawn = ["svg", "g", "path", "image", "rect", "text", "line"].includes(tag);
  const made = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const cells = (count) => count === 1 ? "1 cell" : `${count} cells`;

const charts = (() => { // histograms, each bar in parts: one for each of the series, which are lists of rows
  const OCTAVE = 4; // bins of diameters an octave, from 1 pixel
  const COLOURS = ["#0b8fa5", "#f08c00", "#8a63d2", "#2f9e44", "#e03131", "#868e96", "#c2255c", "#a98467"]; // of groups

  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  const edge = (bin) => 2 ** (bin / OCTAVE);
  const show = (size) => size < 10 ? size.toFixed(1) : Math.round(size).toString();

  function bars(svg, made, ticks, names) {
    const width = Math.max(200, svg.clientWidth || 400), height = 130, foot = 18, left = 4, top = 14;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const most = Math.max(0, ...made.map((bar) => sum(bar.parts))), step = (width - 2 * left) / Math.max(1, made.length);
    made.forEach((bar, place) => {
      let bottom = height - foot;
      bar.parts.forEach((count, series) => {
        if (!count) return;
        const tall = (height - foot - top) * count / most;
        bottom -= tall;
        const rect = make("rect", { x: left + place * step + 0.5, y: bottom, width: Math.max(0.5, step - 1), height: tall });
        if (names.length > 1) rect.style.fill = COLOURS[series];
        rect.append(make("title", {}, `${names.length > 1 ? `${names[series]}, ` : ""}${bar.text}: ${count}`));
        svg.append(rect);
      });
    });
    svg.append(make("line", { x1: 0, x2: width, y1: height - foot, y2: height - foot }));
    if (most) svg.append(make("text", { x: left, y: 10 }, `highest bar: ${most}`));
    else svg.append(make("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "none"));
    for (const [place, text] of ticks) {
      const anchor = place <= 0 ? "start" : place >= made.length ? "end" : "middle";
      svg.append(make("text", { x: left + place * step, y: height - 4, "text-anchor": anchor }, text));
    }
  }

  function total(rows) {
    const bins = [];
    for (const row of rows) (row.bins || []).forEach((count, bin) => { bins[bin] = (bins[bin] || 0) + count; });
    return bins;
  }

  function diameters(svg, series, names = [""]) {
    const totals = series.map(total), all = total(totals.map((bins) => ({ bins })));
    const filled = [...all.keys()].filter((bin) => all[bin]);
    if (!filled.length) return bars(svg, [], [], names);
    const first = Math.max(0, filled[0] - 2), last = filled[filled.length - 1] + 3, made = [], ticks = [];
    for (let bin = first; bin < last; bin++) made.push({ parts: totals.map((bins) => bins[bin] || 0), text: `${show(edge(bin))} to ${show(edge(bin + 1))} px` });
    const every = last - first > 24 ? 8 : 4;
    for (let bin = Math.ceil(first / every) * every; bin <= last; bin += every) ticks.push([bin - first, show(edge(bin))]);
    bars(svg, made, ticks, names);
  }

  function counts(svg, series, names = [""]) {
    const found = series.map((rows) => rows.filter((row) => row.count !== undefined).map((row) => row.count));
    if (!sum(found.map((each) => each.length))) return bars(svg, [], [], names);
    const most = Math.max(...found.flat(), 1), wide = Math.ceil((most + 1) / Math.min(30, most + 1));
    const text = (bin) => wide > 1 ? `${bin * wide} to ${(bin + 1) * wide - 1} cells` : cells(bin);
    const made = Array.from({ length: Math.ceil((most + 1) / wide) }, (_, bin) => ({ parts: series.map(() => 0), text: text(bin) }));
    found.forEach((each, place) => { for (const count of each) made[Math.floor(count / wide)].parts[place]++; });
    bars(svg, made, [[0, "0"], [made.length / 2, String(Math.round(made.length * wide / 2))], [made.length, String(made.length * wide)]], names);
  }

  function median(rows) { // of diameters, as exactly as the bins say
    const bins = total(rows), half = sum(bins.filter(Boolean)) / 2;
    let below = 0;
    for (let bin = 0; bin < bins.length; bin++) {
      below += bins[bin] || 0;
      if (half && below >= half) return `${show(edge(bin))} to ${show(edge(bin + 1))} px`;
    }
    return "";
  }

  function legend(list, series, names) {
    list.hidden = names.length < 2;
    list.replaceChildren(...names.map((name, place) => {
      const rows = series[place], size = median(rows), count = sum(rows.map((row) => row.count || 0));
      const text = `${name}: ${rows.length === 1 ? "1 image" : `${rows.length} images`}, ${cells(count)}${size ? `, median ${size}` : ""}`;
      return make("li", { style: `--own: ${COLOURS[place]}` }, text);
    }));
  }

  function wheel(canvas) { // the colours that flows have in the pictures: the hue is the way they point
    const size = canvas.width, pen = canvas.getContext("2d"), data = pen.createImageData(size, size);
    for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
      const dx = 2 * (x + 0.5) / size - 1, dy = 2 * (y + 0.5) / size - 1, length = Math.hypot(dx, dy);
      if (length > 1) continue;
      [0, 1, 2].forEach((channel) => {
        data.data[4 * (y * size + x) + channel] = 255 * length * (1 + Math.cos(Math.atan2(dy, dx) - channel * 2 * Math.PI / 3)) / 2;
      });
      data.data[4 * (y * size + x) + 3] = 255;
    }
    pen.putImageData(data, 0, 0);
  }

  return { diameters, counts, legend, wheel, most: COLOURS.length };
})();
