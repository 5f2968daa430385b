//! A terminal over the WebSockets of `…/exec` and `…/run`, with xterm.js.

import type { Terminal as Screen } from '@xterm/xterm';
import { address, transport } from '../api/client';

export interface Command {
  path: { project: string; environment: string };
  /** `exec`: in a running instance; `run`: in a new container. */
  kind: 'exec' | 'run';
  command: string;
  app?: string;
  process?: string;
  instance?: string;
}

export interface Outcome {
  /** The command's status; absent if it was not heard. */
  status?: number;
  message?: string;
}

/** A terminal that runs in an element until it is closed. */
export interface Session {
  close(): void;
  focus(): void;
}

const FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace";

/** Loads xterm.js, connects, and tells when the command has ended. */
export async function openTerminal(element: HTMLElement, command: Command, label: string, ended: (outcome: Outcome) => void): Promise<Session> {
  const [{ Terminal }, { FitAddon }] = await Promise.all([import('@xterm/xterm'), import('@xterm/addon-fit'), import('@xterm/xterm/css/xterm.css')]);
  const screen = new Terminal({
    fontFamily: FONT,
    fontSize: 13,
    cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
    screenReaderMode: true,
    scrollback: 10_000,
    minimumContrastRatio: 4.5,
    theme: themeOf(element),
  });
  const fit = new FitAddon();
  screen.loadAddon(fit);
  openWithoutInlineStyles(screen, element);
  screen.textarea?.setAttribute('aria-label', label);
  fit.fit();
  const socket = connect(screen, command, ended);
  const watch = new ResizeObserver(() => fit.fit());
  watch.observe(element);
  return {
    focus: () => screen.focus(),
    close() {
      watch.disconnect();
      socket.onclose = null;
      socket.close();
      screen.dispose();
    },
  };
}

function connect(screen: Screen, { path, kind, ...rest }: Command, ended: (outcome: Outcome) => void): WebSocket {
  const template = `/v1/projects/{project}/environments/{environment}/${kind}`;
  const url = new URL(address(template, path, { ...rest, terminal: true, columns: screen.cols, rows: screen.rows }), location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = transport.socket(url.href);
  socket.binaryType = 'arraybuffer';
  const encoder = new TextEncoder();
  let outcome: Outcome | null = null;
  const say = (message: object) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
  const type = (bytes: Uint8Array<ArrayBuffer>) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(bytes);
  };
  screen.onData((data) => type(encoder.encode(data)));
  screen.onBinary((data) => type(Uint8Array.from(data, (character) => character.charCodeAt(0))));
  screen.onResize(({ cols, rows }) => say({ type: 'resize', columns: cols, rows }));
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
    // The first byte says whether it is output or errors; a terminal shows both alike.
    if (typeof data !== 'string') screen.write(new Uint8Array(data, 1));
    else {
      const message = JSON.parse(data) as { type: string; status?: number; message?: string };
      if (message.type === 'exit') outcome = { status: message.status ?? 0 };
      else if (message.type === 'error') outcome = { message: message.message ?? '' };
    }
  };
  socket.onclose = () => ended(outcome ?? {});
  return socket;
}

function themeOf(element: HTMLElement): { background: string; foreground: string; cursor: string; selectionBackground: string } {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  return { background: colour('--code-ground'), foreground: colour('--code-text'), cursor: colour('--code-text'), selectionBackground: '#4a7c80' };
}

/**
 * xterm.js writes its colours into `<style>` elements, which it makes when it is opened, and into
 * `style` attributes of spans. Our Content-Security-Policy refuses both. Such text goes into
 * constructed style sheets and into the object model instead, which the policy allows, because
 * only code that runs already can reach them. (`documentOverride` of xterm.js 6 does not reach all
 * places that make elements.)
 */
function openWithoutInlineStyles(screen: Screen, element: HTMLElement): void {
  HTMLSpanElement.prototype.setAttribute = setAttribute;
  document.createElement = ((name: string) => (name === 'style' ? sheetElement() : Document.prototype.createElement.call(document, name))) as typeof document.createElement;
  try {
    screen.open(element);
  } finally {
    // What is left is the one of the prototype.
    Reflect.deleteProperty(document, 'createElement');
  }
}

function setAttribute(this: HTMLSpanElement, name: string, value: string): void {
  if (name === 'style') this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

/** Something that is no `<style>`, whose text goes into a style sheet for as long as it is there. */
function sheetElement(): HTMLElement {
  const element = Document.prototype.createElement.call(document, 'span');
  element.hidden = true;
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(element, 'textContent', {
    get: () => '',
    set: (text: string) => sheet.replaceSync(text),
  });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}
