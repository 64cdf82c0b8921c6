// What plots under the pointer share: the point of a line that is nearest.

function nearest(found, step) {
  let [low, high] = [0, found.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (found[middle][0] <= step) low = middle;
    else high = middle;
  }
  return Math.abs(found[high][0] - step) < Math.abs(found[low][0] - step) ? found[high] : found[low];
}
