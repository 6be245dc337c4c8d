// A served page asks whether it was built anew, and then loads itself again at the same place; one from disk never asks.

const LIVE_EVERY_MS = 3000, LIVE_PLACE = "midef-place";

function followServer() {
  if (!location.protocol.startsWith("http")) return;
  const was = Number(sessionStorage.getItem(LIVE_PLACE));
  sessionStorage.removeItem(LIVE_PLACE);
  if (was) setTimeout(() => scrollTo(0, was), 300);
  let version = null;
  const ask = async () => {
    try {
      const now = await (await fetch("version", { cache: "no-store" })).text();
      $("live").textContent = "follows the store";
      const isTyping = document.activeElement?.matches("input, textarea") || document.querySelector("dialog[open]");
      if (version !== null && now !== version && !isTyping) {
        sessionStorage.setItem(LIVE_PLACE, String(scrollY));
        location.reload();
        return;
      }
      version ??= now;
    } catch {
      $("live").textContent = "the server does not answer: the page stays as it is";
    }
    setTimeout(ask, LIVE_EVERY_MS);
  };
  $("live").hidden = false;
  ask();
}
