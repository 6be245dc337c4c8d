// Filters that all views share. They stand in the link under these names.

const CHOICES = [ // [name in the link, label, the value of a setup]
  ["data", "data set", (s) => s.data],
  ["arch", "architecture", (s) => s.architecture],
  ["attack", "attack", (s) => s.attack],
];
const FILTER_KEYS = ["data", "arch", "attack", "family", "named", "seeds", "only", "metric", "find"];

const families = () => [...new Set(PAGE.defenses.map((d) => d.family).filter(Boolean))].sort();
const contains = (text, words) => words.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));

// Whether the filters keep a row of a setup, by its index there. The undefended model stays while its setup does.
function keepsRow(s, index) {
  const { label, family } = PAGE.defenses[s.defenses[index]], named = linked("named"), find = linked("find");
  if (find && !contains([s.label, ...s.what, label].join(" "), find)) return false;
  if (linked("seeds") === "complete" && !s.is_complete[index]) return false;
  if (!family) return true;
  if (linked("family") && families().includes(linked("family")) && family !== linked("family")) return false;
  if (named && !contains(label, named)) return false;
  return linked("only") !== "matched" || s.is_matched[index];
}

const keepsDefense = (s, label) => s.defenses.some((d, i) => PAGE.defenses[d].label === label && keepsRow(s, i));

function keepsSetup(s) {
  const isOfChoice = ([name, , value]) => !choicesOf(value).includes(linked(name)) || value(s) === linked(name);
  if (!CHOICES.every(isOfChoice)) return false;
  const isAsked = ["family", "named", "find"].some(linked) || linked("seeds") === "complete" || linked("only") === "matched";
  const kept = s.defenses.map((d, i) => [PAGE.defenses[d].family, keepsRow(s, i)]).filter(([, isKept]) => isKept);
  const isNarrow = linked("family") || linked("named") || linked("only") === "matched";
  return !isAsked || kept.some(([family]) => family || !isNarrow);
}

const choicesOf = (value) => [...new Set(PAGE.setups.map(value))].sort();

const keptSetups = () => PAGE.setups.filter(keepsSetup);

function drawFilters() {
  $("rail").hidden = !PAGE.setups.length;
  $("filters").open = matchMedia("(min-width: 1200px)").matches;
  const fields = CHOICES.map(([name, label, value]) => choice(name, label, choicesOf(value)));
  fields.push(choice("family", "defense family", families()), words("named", "defense"));
  fields.push(choice("seeds", "seeds", ["complete"], ["complete only"]), choice("only", "matching", ["matched"], ["matched only"]));
  fields.push(words("find", "any text"));
  fill($("filterfields"), fields);
}

function field(name, label, input) {
  const line = make("label", label);
  input.dataset.filter = name;
  line.append(input);
  return line;
}

function choice(name, label, values, texts = values) {
  const select = make("select");
  fill(select, ["", ...values].map((value, i) => {
    const option = make("option", i ? texts[i - 1] : "all");
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

// The fields as the link says; a value that no setup has is shown as "all".
function markFilters() {
  for (const input of $("filterfields").querySelectorAll("[data-filter]")) {
    const value = linked(input.dataset.filter);
    if (input.type !== "search") input.value = [...input.options].some((o) => o.value === value) ? value : "";
    else if (input !== document.activeElement) input.value = value;
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
