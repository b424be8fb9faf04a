/* What the participants' pages add to plain forms: keys, drafts, one submission a click, and the
   reason why one cannot go on. Every page works without this file. */
(function () {
  "use strict";

  const DRAFT_DELAY_MS = 700;
  const REQUEST_TIMEOUT_MS = 20000;
  const RETRY_FIRST_MS = 2000;
  const RETRY_LONGEST_MS = 30000;

  /* The pause before the next try, twice as long after each failure (counted from 1). */
  function retryDelay(failures) {
    return Math.min(RETRY_FIRST_MS * 2 ** (failures - 1), RETRY_LONGEST_MS);
  }

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

  function choose(form, name, value) {
    const radio = form.querySelector(`input[name=${name}][value="${value}"]`);
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
    // Inside the strength scale every key is about the scale; arrows move along it by themselves.
    if (event.target.name === "strength") {
      if (/^[1-5]$/.test(event.key)) choose(form, "strength", event.key);
      return;
    }
    const side = sideForKey(event);
    if (!side) return;
    event.preventDefault();
    choose(form, "choice", side);
  }

  function onAnswerClick(event) {
    const answer = event.target.closest(".answer");
    if (!answer || event.target.closest("label, input, a")) return;
    if (String(window.getSelection())) return; // someone is selecting text, not choosing
    const radio = answer.querySelector("input[name=choice]");
    choose(radio.form, "choice", radio.value);
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

  function onSendError(event) {
    if (isPoll(event)) return pollAgain();
    reopenAll();
    document.querySelectorAll("form[data-once]").forEach((form) => {
      keep(form);
      const hint = form.querySelector("[data-hint]");
      if (hint) hint.textContent = form.dataset.hintOffline || "";
    });
  }

  /* ------------------------------------------------------------ the wait goes on by itself */

  let pollFailures = 0;

  function isPoll(event) {
    const config = event.detail.requestConfig;
    return Boolean(config) && config.elt.id === "waiting";
  }

  function pollAgain() {
    pollFailures += 1;
    setTimeout(() => {
      const waiting = document.getElementById("waiting");
      if (waiting) window.htmx.trigger(waiting, "poll-again");
    }, retryDelay(pollFailures));
  }

  function onBeforeSwap(event) {
    if (!isPoll(event)) return;
    if (event.detail.xhr.status < 500) {
      pollFailures = 0;
      return;
    }
    event.detail.shouldSwap = false; // a passing fault must not take the waiting page away
    pollAgain();
  }

  /* ------------------------------------------------------------ drafts, saved on the server */

  /* By field: the text the server has, the one under way with its request, failures in a row. */
  const drafts = new WeakMap();

  function draftOf(field) {
    if (!drafts.has(field)) {
      drafts.set(field, { saved: field.value, sending: "", request: null, failures: 0, timer: 0 });
    }
    return drafts.get(field);
  }

  function setDraftStatus(field, word) {
    const status = document.getElementById(`${field.id}-saved`);
    if (status) status.textContent = word;
  }

  function saveLater(field, delay) {
    const draft = draftOf(field);
    clearTimeout(draft.timer);
    draft.timer = setTimeout(() => saveDraft(field), delay);
  }

  /* One request a field at a time, so that an older text does not arrive after a newer one. */
  function saveDraft(field) {
    const draft = draftOf(field);
    const form = field.form;
    clearTimeout(draft.timer);
    if (!form || form.dataset.sent === "1" || draft.request) return;
    if (draft.saved === field.value) return;
    draft.request = new AbortController();
    sendDraft(field, draft, draft.request);
  }

  function sendDraft(field, draft, request) {
    const form = field.form;
    const text = field.value;
    draft.sending = text;
    const body = new FormData();
    body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    body.append(field.name, text);
    const timeout = setTimeout(() => request.abort(), REQUEST_TIMEOUT_MS);
    // keepalive: the request outlives a tab that is being closed
    fetch(form.dataset.draftUrl, {
      method: "POST",
      body: body,
      keepalive: true,
      credentials: "same-origin",
      signal: request.signal,
    })
      .then((response) => {
        if (!response.ok) throw new Error(String(response.status));
        if (draft.request === request) draftArrived(field, draft, text);
      })
      .catch(() => {
        if (draft.request === request) draftFailed(field, draft);
      })
      .finally(() => clearTimeout(timeout));
  }

  function draftArrived(field, draft, text) {
    draft.request = null;
    draft.saved = text;
    draft.failures = 0;
    if (field.value === text) setDraftStatus(field, field.form.dataset.draftSaved);
    else saveLater(field, DRAFT_DELAY_MS);
  }

  function draftFailed(field, draft) {
    draft.request = null;
    draft.saved = null; // it may have arrived all the same: what the server has is not known
    draft.failures += 1;
    setDraftStatus(field, field.form.dataset.draftFailed);
    saveLater(field, retryDelay(draft.failures));
  }

  function onDraftInput(field) {
    setDraftStatus(field, "");
    saveLater(field, DRAFT_DELAY_MS);
  }

  /* The page may be gone in a moment: a newer text does not wait for the older one's request. */
  function saveAllDrafts() {
    document.querySelectorAll("form[data-draft-url] textarea").forEach((field) => {
      const draft = draftOf(field);
      if (draft.request && draft.sending !== field.value) {
        draft.request.abort();
        draft.request = null;
      }
      saveDraft(field);
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

  /* Only what the server has taken is forgotten: after a fault, a reload brings the rest back. */
  function forgetKept(event) {
    const config = event.detail.requestConfig;
    const key = config && config.elt.matches("form") && keepKey(config.elt);
    const status = event.detail.xhr.status;
    if (key && status >= 200 && status < 400) sessionStorage.removeItem(key);
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
    root.querySelectorAll("form[data-draft-url] textarea").forEach(draftOf);
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
  window.addEventListener("pageshow", () => {
    reopenAll();
    saveAllDrafts();
  });
  document.addEventListener("htmx:sendError", onSendError);
  document.addEventListener("htmx:timeout", onSendError);
  document.addEventListener("htmx:beforeSwap", onBeforeSwap);
  document.addEventListener("htmx:afterRequest", forgetKept);
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
