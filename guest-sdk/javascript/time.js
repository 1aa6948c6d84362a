// Times are microseconds since the epoch as BigInt, which a Date cannot hold exactly; dates are
// texts such as "2025-01-15".

const MICROSECONDS_PER_MILLISECOND = 1000n;
const MILLISECONDS_PER_DAY = 86_400_000;

export function toDate(microseconds) {
  return new Date(Number(floored(BigInt(microseconds), MICROSECONDS_PER_MILLISECOND)));
}

export function dateOf(time) {
  return (time instanceof Date ? time : toDate(time)).toISOString().slice(0, 10);
}

export function microsecondsOf(date) {
  return BigInt(date.getTime()) * MICROSECONDS_PER_MILLISECOND;
}

/** Days since the epoch, or NaN if the text is no date. */
export function daysOf(text) {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return NaN;
  const days = Date.parse(`${text}T00:00:00Z`) / MILLISECONDS_PER_DAY;
  return dateOfDays(days) === text ? days : NaN;
}

export function dateOfDays(days) {
  const date = new Date(days * MILLISECONDS_PER_DAY);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 10);
}

function floored(dividend, divisor) {
  const quotient = dividend / divisor;
  return dividend % divisor < 0n ? quotient - 1n : quotient;
}
