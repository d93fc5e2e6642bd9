// A person's session with a relay: the tokens, and requests that carry them.

/**
 * @typedef {{ accessToken: string, refreshToken: string }} Tokens
 * @typedef {(url: string, init?: RequestInit) => Promise<Response>} Fetch
 * @typedef {import("./store.js").Store<{ tokens?: Tokens | undefined }>} TokenStore
 * @typedef {{ type: string, bytes: Uint8Array<ArrayBuffer> }} Photo
 * @typedef {object} Call
 * @property {string} [method]
 * @property {unknown} [body] sent as JSON
 * @property {Photo} [photo] sent as it is
 * @property {Record<string, string>} [headers]
 */

/** An answer that is not the one that was hoped for. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} statusText
   * @param {string} body
   * @param {number | undefined} retryAfter seconds
   */
  constructor(status, statusText, body, retryAfter) {
    super(`${status} ${statusText}: ${body.slice(0, 200)}`);
    this.name = "Refused";
    this.status = status;
    this.statusText = statusText;
    this.body = body;
    this.retryAfter = retryAfter;
  }

  /** @param {Response} response */
  static async from(response) {
    const wait = Number(response.headers.get("retry-after") ?? Number.NaN);
    const retryAfter = Number.isFinite(wait) ? wait : undefined;
    return new Refused(response.status, response.statusText, await response.text(), retryAfter);
  }

  /** Whether the same request may be taken later, as it is. */
  get isTemporary() {
    return this.status === 401 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** Nobody is logged in any more: the app asks for the password and goes on with what it has. */
export class LoggedOut extends Error {
  constructor() {
    super("log in again; everything recorded is still here");
    this.name = "LoggedOut";
  }
}

export class Session {
  #url;
  #fetch;
  #store;
  #device;
  /** @type {Promise<string> | undefined} */
  #renewing;

  /** @param {{ url: string, device: string, store: TokenStore, fetch?: Fetch }} setup */
  constructor({ url, device, store, fetch = globalThis.fetch }) {
    this.#url = url;
    this.#device = device;
    this.#store = store;
    this.#fetch = fetch;
  }

  get device() {
    return this.#device;
  }

  /**
   * Opens a session on this device.
   * @param {string} email
   * @param {string} password
   * @returns {Promise<{ id: string, name: string, role: string, tenantId: string }>}
   */
  async logIn(email, password) {
    const response = await this.#post("/auth/login", { email, password });
    if (!response.ok) throw await Refused.from(response);
    const answer = /** @type {any} */ (await response.json());
    await this.#keep(answer);
    return { ...answer.user, tenantId: answer.tenantId };
  }

  /**
   * Chooses another password. Every session of the person ends, also on other devices, and this one
   * goes on with new tokens. Where the answer is lost, log in with the new password.
   * @param {string} currentPassword
   * @param {string} newPassword
   */
  async changePassword(currentPassword, newPassword) {
    const body = { currentPassword, newPassword };
    await this.#keep(await this.json("/auth/password", { method: "POST", body }));
  }

  /**
   * Chooses another password by the code of an admin, and opens a session.
   * @param {string} email
   * @param {string} code
   * @param {string} newPassword
   */
  async resetPassword(email, code, newPassword) {
    const response = await this.#post("/auth/password/reset", { email, code, newPassword });
    if (!response.ok) throw await Refused.from(response);
    await this.#keep(/** @type {Tokens} */ (await response.json()));
  }

  /**
   * Sends a request. An access token lives an hour and a shift eight, so one that is over is
   * renewed in passing, and the request goes out once more.
   * @param {string} path
   * @param {Call} [call]
   * @returns {Promise<Response>} any answer but 401
   */
  async send(path, call = {}) {
    const token = this.#store.value.tokens?.accessToken ?? (await this.#renewed());
    const response = await this.#sendWith(token, path, call);
    if (response.status !== 401) return response;
    await response.body?.cancel();
    const current = this.#store.value.tokens?.accessToken;
    // Another request may have renewed it meanwhile.
    const next = current !== undefined && current !== token ? current : await this.#renewed();
    const again = await this.#sendWith(next, path, call);
    if (again.status === 401) throw new LoggedOut();
    return again;
  }

  /**
   * The JSON of an answer that went well.
   * @param {string} path
   * @param {Call} [call]
   * @returns {Promise<any>}
   */
  async json(path, call = {}) {
    const response = await this.send(path, call);
    if (!response.ok) throw await Refused.from(response);
    return response.json();
  }

  /** Renews the access token; whoever asks meanwhile waits for the same one. */
  #renewed() {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  /** Where the answer is lost the old refresh token stays good, so the next attempt mends that. */
  async #renew() {
    const refreshToken = this.#store.value.tokens?.refreshToken;
    if (refreshToken === undefined) throw new LoggedOut();
    const body = { refreshToken, deviceId: this.#device };
    const response = await this.#post("/auth/refresh", body);
    if (response.status === 401) throw new LoggedOut();
    if (!response.ok) throw await Refused.from(response);
    return this.#keep(/** @type {Tokens} */ (await response.json()));
  }

  /** @param {Tokens} tokens */
  async #keep({ accessToken, refreshToken }) {
    await this.#store.change((value) => void (value.tokens = { accessToken, refreshToken }));
    return accessToken;
  }

  /**
   * @param {string} path
   * @param {object} body
   */
  #post(path, body) {
    const headers = { "Content-Type": "application/json", "X-Device-Id": this.#device };
    return this.#fetch(this.#url + path, { method: "POST", headers, body: JSON.stringify(body) });
  }

  /**
   * @param {string} token
   * @param {string} path
   * @param {Call} call
   */
  #sendWith(token, path, { method = "GET", body, photo, headers = {} }) {
    /** @type {Record<string, string>} */
    const all = { Authorization: `Bearer ${token}`, "X-Device-Id": this.#device, ...headers };
    if (body !== undefined) all["Content-Type"] = "application/json";
    if (photo !== undefined) all["Content-Type"] = photo.type;
    const sent = photo !== undefined ? photo.bytes : JSON.stringify(body);
    return this.#fetch(this.#url + path, { method, headers: all, body: sent ?? null });
  }
}
