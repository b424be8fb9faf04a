/* What the participants' pages add to plain forms: keys, drafts, one submission a click, and the
   reason why one cannot go on. Every page works without this file. */
(function () {
  "use strict";

  const DRAFT_DELAY_MS = 700;

  /* ------------------------------------------------------------ choosing an answer */

  function isTyping(target) {
    return target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");
  }

  function sideForKey(event) {
    if (event.key === "1" || event.key === "ArrowLeft") return "left";
    if (event.key === "2" || event.key === "ArrowRight") return "right";
    if (event.key === "0") return "tie";
    return null;
  }

  function choose(form, side) {
    const radio = form.querySelector(`input[name=choice][value=${side}]`);
    if (!radio) return;
    radio.checked = true;
    radio.focus({ preventScroll: true });
    radio.dispatchEvent(new Event("change", { bubbles: true }));
  }

  function onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.defaultPrevented || isTyping(event.target)) return;
    const form = document.querySelector("form[data-choice-form]");
    if (!form) return;
    // Inside the strength scale the arrow keys move along the scale.
    if (event.target.name === "strength" && event.key.startsWith("Arrow")) return;
    const side = sideForKey(event);
    if (!side) return;
    event.preventDefault();
    choose(form, side);
  }

  function onAnswerClick(event) {
    const answer = event.target.closest(".answer");
    if (!answer || event.target.closest("label, input, a")) return;
    if (String(window.getSelection())) return; // someone is selecting text, not choosing
    const radio = answer.querySelector("input[name=choice]");
    choose(radio.form, radio.value);
  }

  /* ------------------------------------------------------------ why one cannot go on */

  function missingHint(form) {
    const chosen = form.querySelector("input[name=choice]:checked");
    if (!chosen) return form.dataset.hintChoice;
    const asksStrength = form.querySelector("input[name=strength]");
    if (asksStrength && !form.querySelector("input[name=strength]:checked")) {
      return form.dataset.hintStrength;
    }
    return "";
  }

  function updateHint(form) {
    const hint = form.querySelector("[data-hint]");
    if (hint) hint.textContent = missingHint(form);
  }

  /* ------------------------------------------------------------ one submission a click */

  function onSubmit(event) {
    const form = event.target;
    if (!form.matches("form[data-once]")) return;
    if (form.dataset.sent === "1") {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    form.dataset.sent = "1";
    form.querySelectorAll("button[type=submit]").forEach((button) => {
      button.setAttribute("aria-disabled", "true");
    });
    forgetKept(form);
  }

  function reopen(form) {
    delete form.dataset.sent;
    form.querySelectorAll("button[type=submit]").forEach((button) => {
      button.removeAttribute("aria-disabled");
    });
  }

  function reopenAll() {
    document.querySelectorAll("form[data-once]").forEach(reopen);
  }

  function onSendError() {
    reopenAll();
    document.querySelectorAll("form[data-once]").forEach((form) => {
      keep(form);
      const hint = form.querySelector("[data-hint]");
      if (hint) hint.textContent = form.dataset.hintOffline || "";
    });
  }

  /* ------------------------------------------------------------ drafts, saved on the server */

  const timers = new WeakMap();
  const savedText = new WeakMap();

  function setDraftStatus(field, word) {
    const status = document.getElementById(`${field.id}-saved`);
    if (status) status.textContent = word;
  }

  function saveDraft(field) {
    clearTimeout(timers.get(field));
    const form = field.form;
    const text = field.value;
    if (!form || savedText.get(field) === text) return;
    const body = new FormData();
    body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    body.append(field.name, text);
    savedText.set(field, text);
    // keepalive: the request outlives a tab that is being closed
    fetch(form.dataset.draftUrl, {
      method: "POST",
      body: body,
      keepalive: true,
      credentials: "same-origin",
    })
      .then((response) => {
        if (!response.ok) throw new Error(String(response.status));
        setDraftStatus(field, form.dataset.draftSaved);
      })
      .catch(() => {
        savedText.delete(field);
        setDraftStatus(field, form.dataset.draftFailed);
      });
  }

  function onDraftInput(field) {
    clearTimeout(timers.get(field));
    setDraftStatus(field, "");
    timers.set(field, setTimeout(() => saveDraft(field), DRAFT_DELAY_MS));
  }

  function saveAllDrafts() {
    document.querySelectorAll("form[data-draft-url]").forEach((form) => {
      if (form.dataset.sent !== "1") form.querySelectorAll("textarea").forEach(saveDraft);
    });
  }

  /* ------------------------------------------------------------ half-made judgments, kept in the tab */

  function keepKey(form) {
    return form.dataset.keep ? `kept:${form.dataset.keep}` : null;
  }

  function keep(form) {
    const key = keepKey(form);
    if (!key) return;
    const values = {};
    new FormData(form).forEach((value, name) => {
      if (["choice", "strength", "reason"].includes(name)) values[name] = value;
    });
    sessionStorage.setItem(key, JSON.stringify(values));
  }

  function forgetKept(form) {
    const key = keepKey(form);
    if (key) sessionStorage.removeItem(key);
  }

  function restoreKept(form) {
    const key = keepKey(form);
    const stored = key && sessionStorage.getItem(key);
    if (!stored || form.querySelector("input:checked")) return;
    const values = JSON.parse(stored);
    for (const name of ["choice", "strength"]) {
      const radio = form.querySelector(`input[name=${name}][value="${CSS.escape(values[name] || "")}"]`);
      if (radio) radio.checked = true;
    }
    const reason = form.querySelector("textarea[name=reason]");
    if (reason && !reason.value) reason.value = values.reason || "";
  }

  /* ------------------------------------------------------------ counters, copy button */

  function updateCounter(field) {
    const counter = document.getElementById(`${field.id}-count`);
    if (!counter) return;
    const length = Array.from(field.value.trim()).length;
    counter.textContent = `${length} / ${field.dataset.max}`;
    counter.classList.toggle("is-over", length > Number(field.dataset.max));
  }

  function onCopy(button) {
    navigator.clipboard.writeText(button.dataset.copy).then(() => {
      button.textContent = button.dataset.copied;
    });
  }

  /* ------------------------------------------------------------ wiring */

  function start(root) {
    root.querySelectorAll("form[data-choice-form]").forEach((form) => {
      restoreKept(form);
      updateHint(form);
    });
    root.querySelectorAll("textarea[data-max]").forEach(updateCounter);
    root.querySelectorAll("form[data-draft-url] textarea").forEach((field) => {
      savedText.set(field, field.value);
    });
    root.querySelectorAll("button[data-copy]").forEach((button) => {
      button.hidden = !navigator.clipboard;
    });
  }

  document.addEventListener("keydown", onKey);
  document.addEventListener("submit", onSubmit, true);
  document.addEventListener("click", (event) => {
    onAnswerClick(event);
    const button = event.target.closest("button[data-copy]");
    if (button) onCopy(button);
  });
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (field.matches("textarea[data-max]")) updateCounter(field);
    if (field.matches("form[data-draft-url] textarea")) onDraftInput(field);
    if (field.form && field.form.matches("form[data-keep]")) keep(field.form);
  });
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (!form || !form.matches("form[data-choice-form]")) return;
    updateHint(form);
    keep(form);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.matches("form[data-draft-url] textarea")) saveDraft(event.target);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") saveAllDrafts();
  });
  window.addEventListener("pagehide", saveAllDrafts);
  window.addEventListener("pageshow", reopenAll);
  document.addEventListener("htmx:sendError", onSendError);
  document.addEventListener("htmx:timeout", onSendError);
  document.addEventListener("htmx:afterSwap", (event) => {
    start(document);
    // A new page in all but address: say so to screen readers, and begin at its top.
    if (event.detail.target.id === "page") {
      const heading = document.querySelector("[data-focus]") || document.querySelector("#page h1");
      if (heading) heading.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }
  });

  start(document);
  const problem = document.querySelector("[data-focus]");
  if (problem) problem.focus();
})();
