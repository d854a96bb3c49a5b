// What the panel does beyond plain pages. Every form works without any of this.
(() => {
  "use strict";
  const root = document.documentElement;

  // htmx hands whole answers of this site to the parser; scripts in them are never run (CSP), and no
  // policy here makes a script or the address of one out of text.
  if (window.trustedTypes && trustedTypes.createPolicy) {
    trustedTypes.createPolicy("default", { createHTML: (html) => html });
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    if (root.dataset.theme === "auto") root.dataset.bsTheme = dark.matches ? "dark" : "light";
  };
  paint();
  dark.addEventListener("change", paint);

  const notice = (text) => {
    const place = document.getElementById("notice");
    if (place) {
      place.textContent = text;
      place.hidden = false;
    }
  };

  // One stream a tab, and only while the tab is looked at: browsers allow six connections a site.
  let source = null;
  const heard = (kind) => document.body.dispatchEvent(new CustomEvent(`hs-${kind}`));
  const listen = () => {
    if (source || document.hidden || !document.body.dataset.events) return;
    source = new EventSource(document.body.dataset.events);
    // What moved between the making of the page and the opening of the stream was told to nobody.
    source.addEventListener("open", () => {
      heard("box");
      heard("change");
    });
    source.addEventListener("box", () => heard("box"));
    source.addEventListener("change", () => heard("change"));
    source.addEventListener("error", () => {
      if (source && source.readyState === EventSource.CLOSED) {
        source = null;
        notice("This page is no longer followed live: load it again.");
      }
    });
  };
  const follow = () => {
    if (document.hidden) {
      if (source) source.close();
      source = null;
    } else {
      listen();
    }
  };

  // What did not change is not drawn again: the place of the reader and the focus stay.
  const shown = new Map();
  const unchanged = (event) => {
    const target = event.detail.target;
    if (!target || !target.id || event.detail.xhr.status >= 400) return;
    const text = event.detail.xhr.responseText;
    if (target.id === "live" && shown.get("live") === text) event.detail.shouldSwap = false;
    shown.set(target.id, text);
  };

  const copy = async (button) => {
    const field = document.getElementById(button.dataset.copy);
    const words = button.querySelector("span");
    try {
      await navigator.clipboard.writeText(field.value);
      words.textContent = "Copied";
    } catch {
      field.select();
      words.textContent = "Selected";
    }
  };

  addEventListener("DOMContentLoaded", () => {
    listen();
    document.addEventListener("visibilitychange", follow);
    document.body.addEventListener("htmx:beforeSwap", unchanged);
    document.body.addEventListener("htmx:responseError", (event) => {
      if (event.detail.xhr.status === 401) notice("You are signed out. Load the page to sign in.");
    });
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.hidden = false;
      button.addEventListener("click", () => copy(button));
    }
    document.addEventListener("submit", (event) => {
      const form = event.target;
      if (form.method !== "post") return;
      if (form.dataset.sent) {
        event.preventDefault();
        return;
      }
      form.dataset.sent = "1";
      const button = event.submitter;
      if (button) {
        button.setAttribute("aria-disabled", "true");
        button.classList.add("btn-loading");
      }
    });
    for (const tab of document.querySelectorAll(".hs-tabs [aria-current]")) {
      tab.scrollIntoView({ block: "nearest", inline: "center" });
    }
    const wrong = document.querySelector(".is-invalid");
    if (wrong) wrong.focus();
  });

  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll(".btn-loading")) {
      button.classList.remove("btn-loading");
      button.removeAttribute("aria-disabled");
    }
  });
})();
