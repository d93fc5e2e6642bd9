// The way between an app and the relay, on which requests and answers get lost when a test says so.

/**
 * @typedef {"fine" | "request lost" | "answer lost"} Weather
 */

/** What apps call the relay; it is somewhere else after each start. */
export const RELAY = "http://relay.test";

export class Wire {
  /** @type {Weather[]} */
  #weather = [];
  /** @type {(() => Promise<void>) | undefined} */
  #onAnswer;
  /** The paths that were asked for, and the statuses. @type {[string, number][]} */
  seen = [];
  isCut = false;

  /** @param {{ url: string }} relay */
  constructor(relay) {
    this.relay = relay;
  }

  /**
   * What becomes of the next exchanges.
   * @param {Weather[]} weather
   */
  next(...weather) {
    this.#weather.push(...weather);
  }

  /**
   * Does something once the next answer is there and before the app has it.
   * @param {() => Promise<void>} deed
   */
  beforeNextAnswer(deed) {
    this.#onAnswer = deed;
  }

  /**
   * @param {string} url
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  fetch = async (url, init) => {
    const path = url.replace(RELAY, "");
    const weather = this.#weather.shift() ?? "fine";
    if (this.isCut || weather === "request lost") throw new TypeError("fetch failed: no network");
    const response = await fetch(this.relay.url + path, init);
    const bytes = await response.arrayBuffer();
    const { status, statusText, headers } = response;
    this.seen.push([path, status]);
    const deed = this.#onAnswer;
    this.#onAnswer = undefined;
    if (deed !== undefined) await deed();
    if (weather === "answer lost") throw new TypeError("fetch failed: connection reset");
    const body = bytes.byteLength === 0 ? null : bytes;
    return new Response(body, { status, statusText, headers });
  };
}
