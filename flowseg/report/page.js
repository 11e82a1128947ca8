"use strict";
const flowseg = (() => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const space = ["svg", "g", "path", "image", "rect", "text", "line"].includes(tag);
    const made = space ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  // ---- histograms -------------------------------------------------------------------------------------------

  const OCTAVE = 4; // bins of diameters an octave, from 1 pixel

  function bars(svg, counts, ticks) {
    const width = Math.max(200, svg.clientWidth || 400), height = 130, foot = 18, left = 4;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const most = Math.max(1, ...counts.map((bar) => bar.count));
    const step = (width - 2 * left) / Math.max(1, counts.length);
    counts.forEach((bar, place) => {
      const tall = (height - foot - 6) * bar.count / most;
      const rect = make("rect", { x: left + place * step + 0.5, y: height - foot - tall, width: Math.max(0.5, step - 1), height: tall });
      rect.append(make("title", {}, `${bar.text}: ${bar.count}`));
      svg.append(rect);
    });
    svg.append(make("line", { x1: 0, x2: width, y1: height - foot, y2: height - foot }));
    for (const [place, text] of ticks) {
      const anchor = place <= 0 ? "start" : place >= counts.length ? "end" : "middle";
      svg.append(make("text", { x: left + place * step, y: height - 4, "text-anchor": anchor }, text));
    }
  }

  function diameterBars(svg, rows) {
    const total = [];
    for (const row of rows) (row.bins || []).forEach((count, bin) => { total[bin] = (total[bin] || 0) + count; });
    const filled = [...total.keys()].filter((bin) => total[bin]);
    if (!filled.length) return bars(svg, [], []);
    const first = Math.max(0, filled[0] - 2), last = filled[filled.length - 1] + 3;
    const edge = (bin) => 2 ** (bin / OCTAVE);
    const show = (size) => size < 10 ? size.toFixed(1) : Math.round(size).toString();
    const counts = [], ticks = [];
    for (let bin = first; bin < last; bin++) counts.push({ count: total[bin] || 0, text: `${show(edge(bin))} to ${show(edge(bin + 1))} px` });
    const every = last - first > 24 ? 8 : 4;
    for (let bin = Math.ceil(first / every) * every; bin <= last; bin += every) ticks.push([bin - first, show(edge(bin))]);
    bars(svg, counts, ticks);
  }

  function countBars(svg, rows) {
    const counts = rows.filter((row) => row.count !== undefined).map((row) => row.count);
    if (!counts.length) return bars(svg, [], []);
    const most = Math.max(...counts, 1), bins = Math.min(30, most + 1), wide = Math.ceil((most + 1) / bins);
    const made = Array.from({ length: Math.ceil((most + 1) / wide) }, (_, bin) => ({ count: 0, text: wide > 1 ? `${bin * wide} to ${(bin + 1) * wide - 1} cells` : `${bin} cells` }));
    for (const count of counts) made[Math.floor(count / wide)].count++;
    bars(svg, made, [[0, "0"], [made.length / 2, String(Math.round(made.length * wide / 2))], [made.length, String(made.length * wide)]]);
  }

  // ---- the list ---------------------------------------------------------------------------------------------

  const ORDERS = {
    given: ["In order", () => 0, true],
    worst: ["Worst first", (row) => row.score ?? 2, ROWS.some((row) => row.score !== undefined)],
    best: ["Best first", (row) => -(row.score ?? -1), ROWS.some((row) => row.score !== undefined)],
    name: ["By name", null, true],
    most: ["Most cells first", (row) => -(row.count ?? -1), true],
    fewest: ["Fewest cells first", (row) => row.count ?? Infinity, true],
    largest: ["Largest cells first", (row) => -(row.diameter ?? 0), ROWS.some((row) => row.diameter)],
    smallest: ["Smallest cells first", (row) => row.diameter ?? Infinity, ROWS.some((row) => row.diameter)],
  };
  const SHOWN = {
    all: ["All images", () => true],
    noted: ["With remarks", (row) => row.notes && row.notes.length],
    empty: ["Without cells", (row) => row.count === 0],
    failed: ["Failed", (row) => row.status === "failed"],
  };
  const names = new Intl.Collator(undefined, { numeric: true });
  let listed = [], open = -1;

  function option(select, value, text) { select.append(make("option", { value }, text)); }

  function arrange() {
    const [, key] = ORDERS[$("order").value], keep = SHOWN[$("show").value][1];
    const text = $("find").value.trim().toLowerCase(), group = $("group").value;
    listed = ROWS.filter((row) => keep(row) && row.name.toLowerCase().includes(text) && (!group || row.group === group));
    if (key === null) listed.sort((a, b) => names.compare(a.name, b.name));
    else listed.sort((a, b) => key(a) - key(b));
    $("list").replaceChildren(...listed.map(card));
    $("shown").textContent = listed.length === ROWS.length ? `${ROWS.length} images` : `${listed.length} of ${ROWS.length} images`;
    diameterBars($("diameters"), listed);
    countBars($("counts"), listed);
  }

  function card(row, place) {
    const facts = [];
    if (row.count !== undefined) facts.push(`${row.count} cells`);
    if (row.score !== undefined) facts.push(`score ${row.score.toFixed(3)}`);
    else if (row.diameter) facts.push(`${row.diameter.toFixed(1)} px`);
    const text = make("div", {}, make("b", { title: row.name }, row.name), make("small", {}, facts.join(" · ")));
    if (row.group) text.append(make("small", {}, row.group));
    if (row.error) text.append(make("small", { class: "bad clip", title: row.error }, row.error));
    else if (row.notes && row.notes.length) text.append(make("small", { class: "clip", title: row.notes.join("\n") }, row.notes[0]));
    const picture = row.thumb ? make("img", { src: row.thumb, alt: "", loading: "lazy" }) : make("span", { class: "none" }, row.error ? "failed" : "no picture");
    const made = make("button", { class: "card", type: "button" }, picture, text);
    made.addEventListener("click", () => show(place));
    return made;
  }

  // ---- one image --------------------------------------------------------------------------------------------

  const KINDS = { found: "#00d6ff", true: "#ffc400", missed: "#ff3020", spurious: "#ff50ff", split: "#00e650", merged: "#5a78ff" };
  const LAYERS = [
    ["image", "Image", "i"], ["probability", "Probability", "p"], ["flows", "Flows", "f"],
    ["lines", "Outlines", "o"], ["filled", "Labels", "l"], ["truth", "Truth", "t"],
  ];
  const on = { image: true, lines: true, truth: true };
  let current = null, box = null, whole = null;

  function colour(place, kind, stained) { // yellow to cyan stand out on stained tissue
    if (kind) return KINDS[kind] || "#fff";
    const turn = (place * 222.5) % 360;
    return `hsl(${stained ? 47 + 0.4 * turn : turn} 90% ${stained ? 55 : 62}%)`;
  }

  function shapes(id, found, stained) {
    const group = make("g", { id });
    found.paths.forEach((d, place) => {
      const own = colour(place, found.kinds[place], stained);
      const path = make("path", { d, stroke: own, fill: own });
      path.dataset.place = place;
      group.append(path);
    });
    return group;
  }

  function show(place) {
    open = place;
    const row = listed[place];
    if (!$("viewer").open) $("viewer").showModal();
    $("name").textContent = row.name;
    $("previous").disabled = place === 0;
    $("next").disabled = place === listed.length - 1;
    $("picture").replaceChildren();
    $("tip").hidden = true;
    $("wheel").hidden = true;
    current = null;
    describe(row);
    if (!row.view) { $("wait").textContent = row.error || "There is nothing to show."; layers(); return; }
    $("wait").textContent = "…";
    const script = make("script", { src: row.view.split("/").map(encodeURIComponent).join("/") });
    script.addEventListener("error", () => { if (listed[open] === row) $("wait").textContent = `The file ${row.view} is not beside this page.`; });
    script.addEventListener("load", () => script.remove());
    document.body.append(script);
  }

  function describe(row) {
    const facts = { ...(row.facts || {}) };
    if (row.count !== undefined) facts["cells"] = row.count;
    if (row.size) facts["pixels"] = `${row.size[0]} × ${row.size[1]}`;
    if (row.diameter) facts["diameter used"] = `${row.diameter.toFixed(1)} px`;
    if (row.group) facts["group"] = row.group;
    $("about").replaceChildren(...Object.entries(facts).map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(text)))));
    const notes = (row.notes || []).map((note) => make("li", {}, note));
    if (row.error) notes.unshift(make("li", { class: "bad" }, row.error));
    $("notes").replaceChildren(...notes);
    $("own").hidden = !row.count;
    diameterBars($("own-diameters"), [row]);
    $("more").replaceChildren();
    $("kinds").replaceChildren();
  }

  function view(found) {
    const row = listed[open];
    if (!row || row.name !== found.name) return; // another one was asked for in the meantime
    current = found;
    $("wait").textContent = "";
    const [width, height] = found.size;
    const picture = $("picture");
    picture.setAttribute("aria-label", `${found.name}: ${found.cells.all} cells`);
    for (const name of ["image", "probability", "flows"]) {
      if (found.layers[name]) picture.append(make("image", { id: `layer-${name}`, href: found.layers[name], width, height, preserveAspectRatio: "none" }));
    }
    if (found.truth) picture.append(shapes("truth", found.truth, found.stained));
    picture.append(shapes("cells", found.cells, found.stained));
    if (found.cells.all > found.cells.paths.length) $("notes").append(make("li", {}, `Outlines of the first ${found.cells.paths.length} of ${found.cells.all} cells are drawn.`));
    $("kinds").replaceChildren(...[[found.truth, true], [found.cells, false]].flatMap(([from, dashed]) => from ? legend(from, dashed) : []));
    for (const [title, source] of Object.entries(found.more)) $("more").append(make("figure", {}, make("figcaption", {}, title), make("img", { src: source, alt: title })));
    layers();
    fit();
  }

  function legend(from, dashed) {
    const counts = new Map();
    for (const kind of from.kinds) counts.set(kind, (counts.get(kind) || 0) + 1);
    return [...counts].map(([kind, count]) => make("li", { class: dashed ? "dashed" : "", style: `--own: ${colour(0, kind)}` }, `${kind} (${count})`));
  }

  function has(name) {
    if (!current) return false;
    if (name === "truth") return Boolean(current.truth);
    return name === "lines" || name === "filled" || name in current.layers;
  }

  function layers() {
    $("layers").replaceChildren(...LAYERS.filter(([name]) => has(name)).map(([name, title, key]) => {
      const at = title.toLowerCase().indexOf(key);
      const made = make("button", { "aria-pressed": Boolean(on[name]), title: `${title} (${key})`, "data-layer": name }, title.slice(0, at), make("u", {}, title[at]), title.slice(at + 1));
      made.addEventListener("click", () => toggle(name));
      return made;
    }));
    if (!current) return;
    for (const name of ["image", "probability", "flows"]) {
      const layer = $(`layer-${name}`);
      if (layer) layer.style.display = on[name] ? "" : "none";
    }
    $("cells").setAttribute("class", `${on.lines ? "lines" : ""} ${on.filled ? "filled" : ""}`);
    if ($("truth")) $("truth").setAttribute("class", on.truth ? "lines" : "");
    $("wheel").hidden = !(on.flows && has("flows"));
  }

  function toggle(name) {
    on[name] = !on[name];
    const pictures = ["image", "probability", "flows"];
    if (pictures.includes(name)) { // one picture at a time
      for (const other of pictures) if (other !== name) on[other] = false;
      if (!on[name] && name !== "image") on.image = true;
    }
    layers();
  }

  // ---- zoom, drag, hover --------------------------------------------------------------------------------------

  function fit() {
    const [width, height] = current.size, stage = $("stage").getBoundingClientRect();
    const scale = Math.max(width / stage.width, height / stage.height);
    whole = { x: (width - stage.width * scale) / 2, y: (height - stage.height * scale) / 2, w: stage.width * scale, h: stage.height * scale };
    place({ ...whole });
  }

  function place(to) {
    const most = 40 * whole.w / Math.max(...current.size, 1);
    const scale = Math.min(Math.max(to.w, whole.w / Math.max(8, 40, most)), whole.w * 1.2) / to.w;
    const centre = [to.x + to.w / 2, to.y + to.h / 2];
    to.w *= scale; to.h *= scale;
    const inside = (value, size) => Math.min(Math.max(value, 0), size);
    box = { w: to.w, h: to.h, x: inside(centre[0], current.size[0]) - to.w / 2, y: inside(centre[1], current.size[1]) - to.h / 2 };
    $("picture").setAttribute("viewBox", `${box.x} ${box.y} ${box.w} ${box.h}`);
  }

  function zoom(factor, x, y) {
    if (!current) return;
    if (!factor) return fit();
    const stage = $("stage").getBoundingClientRect();
    const part = [((x ?? stage.left + stage.width / 2) - stage.left) / stage.width, ((y ?? stage.top + stage.height / 2) - stage.top) / stage.height];
    const w = box.w / factor, h = box.h / factor;
    place({ x: box.x + (box.w - w) * part[0], y: box.y + (box.h - h) * part[1], w, h });
  }

  const fingers = new Map();
  let dragged = false;

  function down(event) {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    dragged = false;
  }

  function move(event) {
    const before = fingers.get(event.pointerId);
    if (!before || !current) return hover(event);
    const stage = $("stage").getBoundingClientRect(), now = [event.clientX, event.clientY];
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      zoom(apart(now) / Math.max(1, apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (Math.hypot(now[0] - before[0], now[1] - before[1]) > 2 || dragged) {
      place({ ...box, x: box.x - (now[0] - before[0]) * box.w / stage.width, y: box.y - (now[1] - before[1]) * box.h / stage.height });
    } else return;
    dragged = true;
    fingers.set(event.pointerId, now);
    $("tip").hidden = true;
  }

  function up(event) {
    fingers.delete(event.pointerId);
    if (!dragged) hover(event);
  }

  function hover(event) {
    document.querySelectorAll("#picture path.here").forEach((path) => path.classList.remove("here"));
    const path = event.target.closest && event.target.closest("#cells path");
    if (!path || !current) { $("tip").hidden = true; return; }
    path.classList.add("here");
    const number = Number(path.dataset.place), rows = make("table");
    const add = (name, value) => rows.append(make("tr", {}, make("td", {}, name), make("td", {}, String(value))));
    const kind = current.cells.kinds[number];
    if (kind) add("", kind);
    if (current.columns.length) current.columns.forEach((column, at) => { if (!column.startsWith("bbox")) add(column.replaceAll("_", " "), current.rows[number][at] ?? "–"); });
    else add("cell", number + 1);
    const tip = $("tip"), stage = $("stage").getBoundingClientRect();
    tip.replaceChildren(rows);
    tip.hidden = false;
    const x = event.clientX - stage.left, y = event.clientY - stage.top;
    tip.style.left = `${Math.max(4, x + 16 + tip.offsetWidth > stage.width ? x - tip.offsetWidth - 12 : x + 16)}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 12, stage.height - tip.offsetHeight - 4))}px`;
  }

  function wheel() { // the colours that flows have in the pictures: the hue is the way they point
    const canvas = $("wheel"), size = canvas.width, pen = canvas.getContext("2d"), data = pen.createImageData(size, size);
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

  // ---- keys and beginnings ------------------------------------------------------------------------------------

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!$("viewer").open) {
      if (event.key === "/" && event.target !== $("find")) { event.preventDefault(); $("find").focus(); }
      return;
    }
    const layer = LAYERS.find(([name, , letter]) => letter === event.key.toLowerCase() && has(name));
    if (layer) toggle(layer[0]);
    else if (event.key === "ArrowRight" && open < listed.length - 1) show(open + 1);
    else if (event.key === "ArrowLeft" && open > 0) show(open - 1);
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") zoom(0);
    else return;
    event.preventDefault();
  }

  function theme(value) {
    if (value) document.documentElement.dataset.theme = value;
    try { if (value) localStorage.setItem("flowseg-theme", value); else return localStorage.getItem("flowseg-theme"); } catch { /* not from a disk */ }
    return null;
  }

  function begin() {
    for (const [name, [title, , there]] of Object.entries(ORDERS)) if (there) option($("order"), name, title);
    for (const [name, [title, keep]] of Object.entries(SHOWN)) {
      const count = ROWS.filter(keep).length;
      if (name === "all" || count) option($("show"), name, name === "all" ? title : `${title} (${count})`);
    }
    const groups = [...new Set(ROWS.map((row) => row.group).filter(Boolean))].sort(names.compare);
    if (groups.length) { option($("group"), "", "All groups"); groups.forEach((group) => option($("group"), group, group)); $("group").hidden = false; }
    for (const id of ["order", "show", "group"]) $(id).addEventListener("change", arrange);
    $("find").addEventListener("input", arrange);
    $("previous").addEventListener("click", () => show(open - 1));
    $("next").addEventListener("click", () => show(open + 1));
    $("back").addEventListener("click", () => $("viewer").close());
    $("viewer").addEventListener("close", () => { const card = $("list").children[open]; if (card) { card.scrollIntoView({ block: "nearest" }); card.focus(); } });
    const stage = $("stage");
    stage.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX, event.clientY); }, { passive: false });
    $("picture").addEventListener("pointerdown", down);
    $("picture").addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, up);
    $("picture").addEventListener("pointerleave", () => { $("tip").hidden = true; });
    document.querySelectorAll("#zoom button").forEach((button) => button.addEventListener("click", () => zoom(Number(button.dataset.zoom))));
    window.addEventListener("keydown", key);
    window.addEventListener("resize", () => {
      diameterBars($("diameters"), listed);
      countBars($("counts"), listed);
      if (current && $("viewer").open) fit();
    });
    theme(theme());
    $("theme").addEventListener("click", () => {
      const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      theme(dark ? "light" : "dark");
    });
    wheel();
    arrange();
  }

  addEventListener("DOMContentLoaded", begin);
  return { view };
})();
