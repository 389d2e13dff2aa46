/** What the headers of a request say of its body; checked before any of it is read. */
import { RequestError } from '../request-error.js';
import { tooLong } from './body.js';

const JSON_TYPE = /^application\/json$/;
const UTF8 = /^charset="?utf-?8"?$/;
const HINT = "add -H 'Content-Type: application/json' where you use curl";

/**
 * @param header a header's value by its name in lower case; '' where it is not there
 * @throws RequestError 400, 413, 415
 */
export function checkHeaders(method: string, limitBytes: number, header: (name: string) => string): void {
  const length = header('content-length');
  // uWebSockets refuses it too, but only after the handler: by then the request would be done.
  if (!/^\d{0,9}$/.test(length)) throw new RequestError(400, 'the Content-Length is not a number that can be served');
  if (method !== 'POST') {
    const hasBody = Number(length) > 0 || header('transfer-encoding') !== '';
    if (hasBody) throw new RequestError(400, `a ${method} has no body here`);
    return;
  }
  checkType(header('content-type'));
  const encoding = header('content-encoding').toLowerCase();
  if (encoding !== '' && encoding !== 'identity') {
    throw new RequestError(415, 'a body in a Content-Encoding is not served: send it as it is');
  }
  if (Number(length) > limitBytes) throw tooLong(limitBytes);
}

function checkType(contentType: string): void {
  if (contentType === '') return;
  const [type = '', ...parameters] = contentType
    .toLowerCase()
    .split(';')
    .map((part) => part.trim());
  if (!JSON_TYPE.test(type)) {
    throw new RequestError(415, `the Content-Type must be application/json: ${HINT}`);
  }
  const charset = parameters.find((parameter) => parameter.startsWith('charset'));
  if (charset !== undefined && !UTF8.test(charset)) {
    throw new RequestError(415, 'Unsupported documented encoding; supported encoding is UTF-8');
  }
}
