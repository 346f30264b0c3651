/** DRF's SAFE_METHODS: the methods that only read data. */
export const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])
