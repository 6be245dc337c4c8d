// The reconstructions of a setup: a row per defense, real images, and which seed, restart, identities and defenses are shown.

const faces = { seed: 0, restart: 0, block: 0, hidden: new Set(), side: 72 };

// The link says `seed.restart.block`; what is not there falls back to the first.
function readFaces(grid) {
  const [seed, restart, block] = linked("faces").split(".").map(Number);
  faces.seed = grid.seeds.includes(seed) ? seed : grid.seeds[0];
  faces.restart = restart < grid.restarts ? restart : 0;
  faces.block = block < grid.blocks.length ? block : 0;
  faces.hidden = new Set(linked("hide").split("|").filter(Boolean));
}

function writeFaces() {
  const { seed, restart, block, hidden } = faces, isFirst = seed === state.setup.grid.seeds[0] && !restart && !block;
  relink({ faces: isFirst ? null : [seed, restart, block].join("."), hide: [...hidden].join("|") });
  drawGrid();
}

function drawGrid() {
  const s = state.setup, { grid } = s, isThere = grid.blocks.length > 0;
  $("gridtools").hidden = $("griddefenses").hidden = !isThere;
  if (isThere) readFaces(grid);
  $("rule").textContent = isThere ? rulesOf(s) : "no rows: no reconstructions are stored for this setup";
  const labels = grid.blocks[faces.block] || [];
  if (isThere) drawFaceChoices(s);
  const head = make("tr");
  head.append(make("th"), ...labels.map((label) => make("th", `id ${label}`)));
  fill($("grid").tHead, isThere ? [head] : []);
  const strips = grid.strips.map((strip, i) => ({ strip, row: s.rows[i] })).filter(({ row }, i) => keepsRow(s, i) && !faces.hidden.has(row.defense));
  if (grid.private) strips.unshift({ strip: grid.private, row: null });
  fill($("grid").tBodies[0], isThere ? strips.map(({ strip, row }) => stripRow(s, strip, row, labels)) : []);
  $("grid").style.setProperty("--face", `${faces.side}px`);
}

function rulesOf(s) {
  const { grid } = s, isFirst = !faces.restart && !faces.block && faces.seed === grid.seeds[0];
  const ids = grid.blocks[faces.block], number = ["first", "second", "third"][faces.restart] || `${faces.restart + 1}th`;
  const rule = isFirst ? grid.rule
    : `attacked identities ${ids[0]} to ${ids.at(-1)} by label, the ${number} restart of each, seed ${faces.seed}; the same for every defense`;
  return `Shown: ${rule}. ` + (s.excluded ? `No signs: ${s.excluded}.`
    : "Solid frame and ✓: the judge, the evaluator if nothing else is said, recognises the identity; dashed and ✗: it does not; pale and no sign: no result. A click enlarges.");
}

function drawFaceChoices(s) {
  const { grid } = s;
  const choice = (id, values, name, value) => {
    fill($(id), values.map((v, i) => {
      const option = make("option", name(v, i));
      option.value = i;
      return option;
    }));
    $(id).value = value;
    $(id).disabled = values.length < 2;
  };
  choice("gridseed", grid.seeds, (seed) => `seed ${seed}`, grid.seeds.indexOf(faces.seed));
  choice("gridrestart", [...Array(grid.restarts).keys()], (i) => `restart ${i + 1}`, faces.restart);
  choice("gridblock", grid.blocks, (ids) => (ids.length > 1 ? `identities ${ids[0]} to ${ids.at(-1)}` : `identity ${ids[0]}`), faces.block);
  $("griddefenses").querySelector("summary").textContent =
    `defenses shown: ${s.rows.filter((row, i) => keepsRow(s, i) && !faces.hidden.has(row.defense)).length} of ${s.rows.length}`;
  fill($("griddefenses").querySelector("p"), s.rows.filter((_, i) => keepsRow(s, i)).map((row) => {
    const label = make("label"), box = make("input");
    box.type = "checkbox";
    box.checked = !faces.hidden.has(row.defense);
    box.addEventListener("change", () => {
      if (box.checked) faces.hidden.delete(row.defense); else faces.hidden.add(row.defense);
      writeFaces();
    });
    label.append(box, " " + row.defense);
    return label;
  }));
}

function stripRow(s, strip, row, labels) {
  const tr = make("tr"), th = make("th", strip.title);
  th.scope = "row";
  tr.append(th);
  tr.classList.toggle("excluded", !!(row && row.excluded));
  if (!row) th.append(make("small", "training images"));
  else if (row.excluded) {
    const why = make("small", "⊘ no result");
    why.title = row.excluded;
    th.append(why);
  } else if (row.y !== null) {
    th.append(make("small", `att@1 ${row.cells[s.columns.findIndex((c) => c.key === "attack_accuracy_at_1")].text} %`));
  }
  const shot = row
    ? strip.shots.find((one) => one.seed === faces.seed && one.restart === faces.restart && one.block === faces.block)
      || (strip.title !== row.defense && strip.shots.find((one) => one.restart === faces.restart && one.block === faces.block))
    : strip.shots.find((one) => one.block === faces.block);
  if (!shot) {
    const td = make("td", strip.reason || `not stored for seed ${faces.seed}, restart ${faces.restart + 1}`, "why");
    td.colSpan = labels.length;
    tr.append(td);
    return tr;
  }
  labels.forEach((label, i) => tr.append(faceCell(s, strip, row, shot, label, i, labels.length)));
  return tr;
}

function faceCell(s, strip, row, shot, label, i, n) {
  const td = make("td"), mark = shot.marks[i];
  td.dataset.id = label;
  if (mark === "absent") { td.textContent = "–"; return td; }
  const verdict = {
    hit: "recognised", miss: "not recognised", unknown: "not evaluated", private: "private image",
    excluded: `no result: ${row && row.excluded}`,
  }[mark];
  const face = make("button", undefined, "face " + mark);
  face.type = "button";
  face.title = `${strip.title}, identity ${label}: ${verdict}`;
  face.append(cutImage(shot.file, i, n, face.title));
  const sign = { hit: "✓", miss: "✗", unknown: "?" }[mark];
  if (sign) face.append(make("b", sign));
  face.addEventListener("click", () => enlarge(s, strip, row, shot, label, i, n, verdict));
  td.append(face);
  return td;
}

// One image of a picture that holds several beside each other.
function cutImage(file, i, n, words) {
  const cut = make("span", undefined, "cut"), image = make("img");
  image.loading = "lazy";
  image.src = file;
  image.alt = words;
  image.style.width = `${100 * n}%`;
  image.style.left = `${-100 * i}%`;
  cut.append(image);
  return cut;
}

function enlarge(s, strip, row, shot, label, i, n, verdict) {
  const pictures = [], add = (file, words) => {
    const figure = make("figure");
    figure.append(cutImage(file, i, n, words), make("figcaption", words));
    pictures.push(figure);
  };
  add(shot.file, row ? "reconstruction" : "first training image");
  const own = s.grid.private, exemplar = row && own && own.shots.find((one) => one.block === shot.block && one.marks[i] === "private");
  if (exemplar) add(exemplar.file, "first training image of the identity");
  const five = { y: "the identity is among them", n: "the identity is not among them" }[shot.fives[i]];
  const best = shot.best[i]?.length ? shot.best[i].map((id) => (id === label ? `${id} (the attacked one)` : id)).join(", ") : "";
  const near = shot.nearest[i] ?? null, older = "scores of an older midef do not hold it";
  const lines = row ? [
    ["identity", `${label}`], ["seed, restart", `${shot.seed}, ${shot.restart + 1}`], ["judge", verdict],
    ["its five best", best || (five ? `${five}; which they are is not stored: ${older}` : `not stored: ${older}`)],
    ["nearest private image", near === null ? `distance not stored: ${older}` : `of the identity: squared distance ${Number(near.toPrecision(4))} in the evaluator's features`],
    ["which it is", "not stored, only how far it is" + (exemplar ? "; beside it is the first of the identity, which need not be the nearest" : own && own.reason ? `; private images ${own.reason}` : "")],
  ] : [["identity", `${label}`], ["what it is", "the first training image of the identity, near to no reconstruction in particular"]];
  const list = make("dl");
  lines.forEach(([name, text]) => list.append(make("dt", name), make("dd", text)));
  $("enlarged").querySelector("h3").textContent = row ? strip.title : "private image";
  fill($("enlarged").querySelector("div"), pictures);
  $("enlarged").querySelector("dl").replaceWith(list);
  $("enlarged").showModal();
}

for (const [id, change] of [
  ["gridseed", (i) => { faces.seed = state.setup.grid.seeds[i]; }],
  ["gridrestart", (i) => { faces.restart = i; }],
  ["gridblock", (i) => { faces.block = i; }],
]) $(id).addEventListener("change", (e) => { change(+e.target.value); writeFaces(); });
$("gridside").addEventListener("input", (e) => { faces.side = +e.target.value; $("grid").style.setProperty("--face", `${faces.side}px`); });
$("enlarged").addEventListener("click", (e) => { if (e.target === e.currentTarget) e.currentTarget.close(); });
$("enlarged").querySelector("button").addEventListener("click", () => $("enlarged").close());
