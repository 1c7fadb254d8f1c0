// Runs before the first paint, so that neither theme nor language flickers. src/ui/theme.ts and src/i18n take over.
(function () {
  var stored = function (key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null; // Storage may be blocked; the system's theme and the page's language remain.
    }
  };
  var root = document.documentElement;
  var theme = stored('theme');
  var systemIsDark = matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = theme === 'light' || theme === 'dark' ? theme : systemIsDark ? 'dark' : 'light';
  var locale = stored('locale');
  if (locale === 'zh-CN' || locale === 'en') root.lang = locale;
})();
