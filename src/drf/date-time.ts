/** DRF's ISO 8601 format of a DateTimeField in UTC: with microseconds, unless they are zero. */
export const formatDateTime = (time: Date): string =>
  time.toISOString().replace(/\.(\d{3})Z$/, (_match, ms) => (ms === '000' ? 'Z' : `.${ms}000Z`))
