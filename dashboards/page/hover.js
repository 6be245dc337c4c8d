// The overlay that says every number of a point.

function showHover(title, details, event) {
  const box = $("hover"), list = make("dl");
  details.forEach(([name, text]) => list.append(make("dt", name), make("dd", text)));
  fill(box, [make("h3", title), list]);
  box.hidden = false;
  const wide = box.offsetWidth, high = box.offsetHeight;
  const left = event.clientX + 18 + wide < innerWidth ? event.clientX + 18 : event.clientX - wide - 18;
  box.style.left = Math.max(4, left) + "px";
  box.style.top = Math.max(4, Math.min(event.clientY - 20, innerHeight - high - 6)) + "px";
}

function hideHover() { $("hover").hidden = true; }
