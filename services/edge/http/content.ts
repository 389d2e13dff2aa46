/** What the head of a request says of its body: checked before any of it is read. */
import { errorAnswer, type Answer } from './answers.js';
import type { BodyForm } from './body-elements.js';

/** A request that is not read. */
export interface NotRead {
  /** A label of metrics. */
  readonly code: string;
  readonly answer: Answer;
}

const FORMS: ReadonlyMap<string, BodyForm> = new Map([
  // Without a Content-Type it is taken for JSON.
  ['', 'json'],
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
]);
const UTF8 = /^charset="?utf-?8"?$/;

/** How the body is to be read, or why it is not. @param header a header's value by its name in lower case; '' for none */
export function readForm(header: (name: string) => string, method: string, limitBytes: number): BodyForm | NotRead {
  if (method.toLowerCase() !== 'post') {
    const message = `${method.toUpperCase()} is not a method of this path; records are sent by POST`;
    return notRead('405 Method Not Allowed', 'method', message, [['Allow', 'POST']]);
  }
  const length = header('content-length');
  // uWebSockets refuses it too, but only after the handler.
  if (!/^\d{0,15}$/.test(length)) return notRead('400 Bad Request', 'bad_length', 'the Content-Length is no number');
  const [type = '', ...parameters] = header('content-type')
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  const form = FORMS.get(type);
  const charset = parameters.find((parameter) => parameter.startsWith('charset'));
  if (form === undefined || (charset !== undefined && !UTF8.test(charset))) {
    const message =
      'the Content-Type must be application/json or application/x-ndjson, in UTF-8; with curl: -H "Content-Type: application/json"';
    return notRead('415 Unsupported Media Type', 'content_type', message);
  }
  const encoding = header('content-encoding').toLowerCase();
  if (encoding !== '' && encoding !== 'identity') {
    const message = 'a body in a Content-Encoding is not served: send it as it is';
    return notRead('415 Unsupported Media Type', 'content_encoding', message);
  }
  return Number(length) > limitBytes ? tooLarge(limitBytes) : form;
}

/** The body is over the limit. */
export function tooLarge(limitBytes: number): NotRead {
  const message = `a body may have ${limitBytes} bytes; send the records in several requests`;
  return notRead('413 Content Too Large', 'too_large', message);
}

/** The bodies that are under way take as much memory as they may. */
export const TOO_MANY_BODIES: NotRead = notRead(
  '503 Service Unavailable',
  'memory',
  'too many bodies are being received at once',
  [['Retry-After', '1']],
);

function notRead(status: string, code: string, message: string, headers: Answer['headers'] = []): NotRead {
  return { code, answer: errorAnswer(status, code, message, headers) };
}
