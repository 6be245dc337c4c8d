// Filters that all views share. They stand in the link under these names. Where one has no meaning in a view, the view
// says why in `idle`, and the filter is shown and does nothing there.

const CHOICES = [ // [name in the link, label, the value of a setup]
  ["data", "data set", (s) => s.data],
  ["arch", "architecture", (s) => s.architecture],
  ["attack", "attack", (s) => s.attack],
];
const SWITCHES = [ // [name in the link, label, what it is without a choice, its values and their words]
  ["seeds", "seeds", "all", () => [["complete", "complete only"]]],
  ["only", "matching", "all", () => [["matched", "matched only"]]],
  ["metric", "metric", "attack accuracy@1", () => PAGE.measures.slice(1).map((m) => [m.key, m.title])],
  ["interval", "interval", "as each setup has it", () => [["t", "over seeds (t)"], ["cluster", "within a run (cluster)"], ["none", "none"]]],
  ["published", "published numbers", "shown", () => [["hide", "hidden"]]],
];
const FILTER_KEYS = [...CHOICES, ...SWITCHES].map(([name]) => name).concat("family", "named", "find");

const families = () => [...new Set(PAGE.defenses.map((d) => d.family).filter(Boolean))].sort();
const contains = (text, words) => words.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));
const choicesOf = (value) => [...new Set(PAGE.setups.map(value))].sort();

// What is asked for in the view that is shown: "" for what is unknown, or has no meaning there.
function asked(name) {
  const value = linked(name), choice = CHOICES.find(([one]) => one === name), other = SWITCHES.find(([one]) => one === name);
  if (!value || VIEWS[shownView()].idle?.[name]) return "";
  if (choice) return choicesOf(choice[2]).includes(value) ? value : "";
  if (other) return other[3]().some(([one]) => one === value) ? value : "";
  return name !== "family" || families().includes(value) ? value : "";
}

// Whether the filters keep a row of a setup, by its index there. The undefended model stays while its setup does.
function keepsRow(s, index) {
  const { label, family } = PAGE.defenses[s.defenses[index]];
  if (asked("find") && !contains([s.label, ...s.what, label].join(" "), asked("find"))) return false;
  if (asked("seeds") && !s.is_complete[index]) return false;
  return !family || (keepsName(label, family) && (!asked("only") || s.is_matched[index]));
}

const keepsName = (label, family) => (!asked("family") || family === asked("family")) && (!asked("named") || contains(label, asked("named")));

const keepsPlace = (s) => CHOICES.every(([name, , value]) => !asked(name) || value(s) === asked(name));

function keepsSetup(s) {
  if (!keepsPlace(s)) return false;
  if (!["family", "named", "find", "seeds", "only"].some(asked)) return true;
  const kept = s.defenses.map((d, i) => [PAGE.defenses[d].family, keepsRow(s, i)]).filter(([, isKept]) => isKept);
  const isNarrow = asked("family") || asked("named") || asked("only");
  return kept.some(([family]) => family || !isNarrow);
}

const keptSetups = () => PAGE.setups.filter(keepsSetup);

// The setups of the page with this id: several sweeps may have one each.
const setupsOf = (id) => PAGE.setups.filter((s) => s.name === id || s.name.endsWith("/" + id));

// Whether the filters keep what a view says of a setup and a defense by their names. The page may know neither, such as of
// a cell that was never run: then the names are all there is to judge by.
function keepsNamed(id, defense) {
  const known = setupsOf(id), family = PAGE.defenses.find((d) => d.label === defense)?.family ?? defense.split("(")[0];
  const fits = (text) => (family === "none" || keepsName(defense, family)) && (!asked("find") || contains(text, asked("find")));
  if (!known.length) return !["data", "arch", "attack", "seeds", "only"].some(asked) && fits(`${id} ${defense}`);
  return known.some((s) => {
    const index = s.defenses.findIndex((d) => PAGE.defenses[d].label === defense);
    if (!keepsPlace(s)) return false;
    return index >= 0 ? keepsRow(s, index) : !asked("seeds") && !asked("only") && fits([s.label, ...s.what, defense].join(" "));
  });
}

// Whether the filters keep what is said of whole setups, one at least of these ids.
function keepsIds(ids) {
  return ids.some((id) => (setupsOf(id).length ? setupsOf(id).some(keepsSetup) : !FILTER_KEYS.some(asked)));
}

const shownMeasure = () => PAGE.measures.find((m) => m.key === asked("metric")) || PAGE.measures[0];
const showsPublished = () => !asked("published");

function drawFilters() {
  $("rail").hidden = !PAGE.setups.length;
  $("filters").open = matchMedia("(min-width: 1200px)").matches;
  const fields = CHOICES.map(([name, label, value]) => choice(name, label, "all", choicesOf(value).map((one) => [one, one])));
  fields.push(choice("family", "defense family", "all", families().map((one) => [one, one])), words("named", "defense"));
  fields.push(...SWITCHES.map(([name, label, all, values]) => choice(name, label, all, values())), words("find", "any text"));
  fill($("filterfields"), fields);
}

function field(name, label, input) {
  const line = make("label", label);
  input.dataset.filter = name;
  line.append(input, make("small"));
  return line;
}

function choice(name, label, all, values) {
  const select = make("select");
  fill(select, [["", all], ...values].map(([value, text]) => {
    const option = make("option", text);
    option.value = value;
    return option;
  }));
  select.addEventListener("change", () => { relink({ [name]: select.value }); show(); });
  return field(name, label, select);
}

function words(name, label) {
  const input = make("input");
  input.type = "search";
  input.addEventListener("input", () => { relink({ [name]: input.value.trim() }); show(); });
  return field(name, label, input);
}

// The fields as the link says, and why the view has no use for one; a value that is unknown is shown as none.
function markFilters() {
  const idle = VIEWS[shownView()].idle || {};
  for (const input of $("filterfields").querySelectorAll("[data-filter]")) {
    const name = input.dataset.filter, value = linked(name);
    if (input.type !== "search") input.value = [...input.options].some((o) => o.value === value) ? value : "";
    else if (input !== document.activeElement) input.value = value;
    input.disabled = name in idle;
    input.nextElementSibling.textContent = idle[name] || "";
  }
  const kept = keptSetups().length, all = PAGE.setups.length;
  $("filtered").textContent = kept < all ? `${kept} of ${all} setups` : "";
}

function resetFilters() {
  relink(Object.fromEntries(FILTER_KEYS.map((name) => [name, null])));
  for (const input of $("filterfields").querySelectorAll("input")) input.value = "";
  show();
}

$("resetfilters").addEventListener("click", resetFilters);
$("resethere").addEventListener("click", resetFilters);
$("copylink").addEventListener("click", async () => {
  // A page from disk may not use the clipboard; then the address is there to be selected.
  try {
    await navigator.clipboard.writeText(location.href);
    $("copied").textContent = "copied";
  } catch {
    prompt("the link to what is shown", location.href);
  }
  setTimeout(() => { $("copied").textContent = ""; }, 2000);
});
