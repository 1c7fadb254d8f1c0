/** Hands an address of this site to the browser's own downloads. The page stays, whatever the answer is. */
export function download(href: string): void {
  const link = document.createElement('a');
  link.href = href;
  link.download = '';
  link.click();
}
