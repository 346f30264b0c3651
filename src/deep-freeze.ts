/** Freezes a value as it comes from JSON or from a schema: plain objects and arrays at any depth, without cycles. */
export function deepFreeze<Value extends object>(value: Value): Value {
  for (const part of Object.values(value)) if (part && typeof part === 'object') deepFreeze(part)
  return Object.freeze(value)
}
