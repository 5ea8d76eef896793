// Numbers as the page writes them: a true minus sign, and as many digits as mean something.

export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

export const signed = (value, digits = 3) =>
  Number.isFinite(value) && Number(value.toFixed(digits)) > 0 ? `+${number(value, digits)}` : number(value, digits);

export const integer = (value) => Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");

/** A rate or threshold in as few digits as give the same number back. */
export const exact = (value) => String(value).replace("-", "−");

/** A Python literal: the shortest text that reads back as the same double. */
export const python = (value) => (Number.isInteger(value) ? `${value}.0` : String(value));
