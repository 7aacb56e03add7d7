/* The time somebody really works on the page: after a minute without a sign of them the clock stands still. */

const IDLE_AFTER = 60_000;

export class ActiveTime {
  constructor(seconds, onTick) {
    this.seconds = seconds;
    this.lastSign = Date.now();
    for (const sign of ["keydown", "pointermove", "pointerdown", "wheel", "touchstart", "scroll"]) {
      document.addEventListener(sign, () => { this.lastSign = Date.now(); }, { passive: true, capture: true });
    }
    setInterval(() => {
      if (document.hidden || !this.isActive(IDLE_AFTER)) return;
      this.seconds += 1;
      onTick(this.seconds);
    }, 1000);
  }

  isActive(within) {
    return Date.now() - this.lastSign < within;
  }
}

export function clock(seconds) {
  const rest = String(seconds % 60).padStart(2, "0");
  const minutes = Math.floor(seconds / 60) % 60;
  const hours = Math.floor(seconds / 3600);
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
