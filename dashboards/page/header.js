// Where the numbers come from, and the list of setups.

function drawHeader() {
  const h = PAGE.header;
  $("sweep").textContent = h.sweep || "";
  const failed = h.failed + (h.refused ? ` failed, ${h.refused} refused` : " failed");
  $("provenance").textContent = `profile ${h.profile} · cells: ${h.ok} ok, ${failed}, ${h.missing} missing · ` +
    `store ${h.store} · code ${h.code} · built ${h.built}`;
  $("exposure").hidden = !PAGE.exposes_private;
  $("warnings").hidden = !PAGE.warnings.length;
  fill($("warnings"), PAGE.warnings.map((w) => make("li", w)));
  fill($("setup"), PAGE.setups.map((s) => {
    const option = make("option", s.label + (s.refused ? " – refused" : ""));
    option.value = s.name;
    return option;
  }));
  $("setup").disabled = PAGE.setups.length < 2;
  drawSetups();
}

function drawSetups() {
  const box = $("setups"), refused = PAGE.setups.filter((s) => s.refused);
  box.hidden = PAGE.setups.length < 2;
  const counts = refused.length ? `: ${PAGE.setups.length - refused.length} with results, ${refused.length} refused` : "";
  box.querySelector("summary").textContent = `${PAGE.setups.length} setups${counts}`;
  fill(box.querySelector("tbody"), PAGE.setups.map((s) => {
    const tr = make("tr"), td = make("td"), link = make("a", s.label);
    tr.dataset.name = s.name;
    tr.title = s.stand_ins.map(([here, there]) => (there ? `${here} for ${there}` : here)).join("; ");
    tr.classList.toggle("refused", !!s.refused);
    link.href = "#" + new URLSearchParams({ [PAGE.link.setup]: s.name });
    td.append(link);
    tr.append(td, ...s.what.map((t) => make("td", t)), ...s.counts.map((n) => make("td", n || "", "count")));
    tr.append(make("td", s.refused || (s.excluded && `no result: ${s.excluded}`)));
    return tr;
  }));
}
