// Defenses over architectures: a row for each network, with the change of both accuracies as a bar around zero.

const ARCH_WIDE = 132, ARCH_HIGH = 14;

function drawArchitectures(data) {
  unpack(data.sheet);
  const by = Object.fromEntries(data.sheet.columns.map((c) => [c.key, c.values])), rows = [...data.place.keys()];
  const passes = (i) => keepsNamed(by.setup[i], by.as[i] || by.defense[i]);
  const places = [...new Set(rows.filter(passes).map((i) => data.place[i]))];
  const named = data.places.indexOf(linked("arch_place"));
  const compared = places.find((n) => rows.some((i) => data.place[i] === n && passes(i) && (by.attack?.[i] ?? null) !== null));
  const chosen = places.includes(named) ? named : compared ?? places[0];
  fill($("archplace"), places.map((n) => {
    const option = make("option", data.places[n]);
    option.value = data.places[n];
    return option;
  }));
  if (places.length) $("archplace").value = data.places[chosen];
  $("archlegend").textContent = data.nothing ? "" : data.legend;
  $("archtools").hidden = $("archsheet").hidden = !places.length;
  $("archnone").hidden = !!places.length;
  $("archnone").textContent = data.nothing || "no rows: nothing here passes the filters";
  if (!places.length) return;
  const keeps = (i) => data.place[i] === chosen && passes(i), kept = rows.filter(keeps);
  const scales = Object.fromEntries(["accuracy", "attack"].map((key) => [key, archScale(by, key, kept)]));
  drawSheet($("archsheet"), data.sheet, {
    sort: "arch_sort", keeps,
    decorate: (td, { key }, i) => {
      if (key in scales && by[key][i] !== null) td.prepend(archBar(by, key, i, scales[key]));
      const above = kept[kept.indexOf(i) - 1];
      if (key === "defense" && !linked("arch_sort") && above !== undefined && by.defense[above] === by.defense[i]) td.classList.add("again");
    },
  });
}

// From the lowest end to the highest, zero among them.
function archScale(by, key, kept) {
  const ends = kept.flatMap((i) => [by[key][i], by[`${key}_low`][i], by[`${key}_high`][i]]).filter((value) => value !== null);
  const low = Math.min(0, ...ends), high = Math.max(0, ...ends), pad = 5;
  return (value) => pad + ((value - low) / (high - low || 1)) * (ARCH_WIDE - 2 * pad);
}

function archBar(by, key, i, at) {
  const value = by[key][i], low = by[`${key}_low`][i], high = by[`${key}_high`][i], mid = ARCH_HIGH / 2;
  const picture = svgOf("svg", { class: "archbar", viewBox: `0 0 ${ARCH_WIDE} ${ARCH_HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": `${value.toFixed(1)} points` });
  picture.append(svgOf("line", { class: "zero", x1: at(0), x2: at(0), y1: 0, y2: ARCH_HIGH }));
  if (low !== null) picture.append(svgOf("line", { class: "span", x1: at(low), x2: at(high), y1: mid, y2: mid }));
  picture.append(svgOf("line", { class: "mean", x1: at(value), x2: at(value), y1: 2, y2: ARCH_HIGH - 2 }));
  return picture;
}

$("archplace").addEventListener("change", (e) => { relink({ arch_place: e.target.value }, true); show(); });

addView("architectures", {
  keys: ["arch_place", "arch_sort"],
  idle: {
    metric: "both accuracies are shown", interval: "of the paired difference, one kind", published: "no published numbers here",
  },
  draw: drawArchitectures,
});
