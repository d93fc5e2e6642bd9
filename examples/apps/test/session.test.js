// Goal: people keep or get back their way in, and what a device recorded outlives it. Method: the
// client of `src/session.js` against the real relay.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { LoggedOut, Refused } from "../src/session.js";
import { empty, Wellpulse } from "../src/wellpulse.js";
import { logIn, open } from "./app.js";
import { PASSWORD, Site } from "./site.js";

const NEW = "a red truck at dawn";

/** @type {Site} */
let site;

before(async () => {
  site = await Site.make();
  for (const name of ["ana", "ben"]) await site.person(`${name}@example.org`, "operator");
  await site.person("lena@example.org", "admin");
  await site.up();
});

after(() => site?.end());

/** @param {Promise<unknown>} asked */
async function refused(asked) {
  const error = await asked.then(() => undefined, (reason) => reason);
  assert.ok(error instanceof Refused, String(error));
  return error.status;
}

test("who changes the password goes on here and is logged out elsewhere", async () => {
  const here = await logIn(site, "tablet-1", "ana@example.org", empty);
  const there = await logIn(site, "tablet-2", "ana@example.org", empty);
  const pending = new Wellpulse(there.session, there.store);
  await pending.record({ wellId: "w", entryType: "PRODUCTION", data: { oilVolume: 1 } });
  assert.equal(await refused(here.session.changePassword("a guess at it", NEW)), 403);
  await here.session.changePassword(PASSWORD, NEW);
  assert.ok(await here.session.json("/sync/pull"));
  await assert.rejects(pending.push(), LoggedOut);
  assert.equal(pending.pending().length, 1, "nothing is lost with the session");
  assert.equal(await refused(there.session.logIn("ana@example.org", PASSWORD)), 401);
  await there.session.logIn("ana@example.org", NEW);
  assert.deepEqual(await pending.push(), { succeeded: 0, failed: 1 });
});

test("who forgot the password chooses another one by a code, once", async () => {
  const office = await logIn(site, "office", "lena@example.org", empty);
  const body = { email: "ben@example.org", currentPassword: PASSWORD };
  const made = await office.session.json("/auth/password/code", { method: "POST", body });
  const { session } = await open(site, "tablet-3", empty);
  const email = "ben@example.org";
  assert.equal(await refused(session.resetPassword("nobody@example.org", made.code, NEW)), 403);
  assert.equal(await refused(session.resetPassword(email, made.code, "short")), 400);
  await session.resetPassword(email, made.code.toLowerCase(), NEW);
  assert.ok(await session.json("/sync/pull"));
  assert.equal(await refused(session.resetPassword(email, made.code, "yet another")), 403);
});
