import { lazy, Suspense, useEffect, useRef } from 'react';
import { Redirect, Route, Switch, useLocation } from 'wouter';
import { rememberedShell, SignedInProvider, useSessionQuery } from './features/session/session';
import { SignInPage } from './features/session/sign-in-page';
import { NotFound, Offline, Opening } from './features/shell/places';
import { Shell } from './features/shell/shell';

// A page is a chunk. The service worker fetches all of them after the first one is shown.
const WelcomePage = lazy(() => import('./features/session/welcome-page'));
const CompanyListPage = lazy(() => import('./features/companies/list-page'));
const CompanyPage = lazy(() => import('./features/companies/record-page'));
const UsersPage = lazy(() => import('./features/users/users-page'));
const ExportPage = lazy(() => import('./features/export/export-page'));

export function Routes() {
  const [location, navigate] = useLocation();
  if (location === '/welcome') {
    return (
      <Suspense fallback={<Opening />}>
        <WelcomePage onEntered={() => navigate('/', { replace: true })} />
      </Suspense>
    );
  }
  return <SessionGate />;
}

/** Shows the app to who is signed in, the sign-in page to who is not, and the bare shell when nobody can be asked. */
function SessionGate() {
  const session = useSessionQuery();
  const wasSignedIn = useRef(false);
  useEffect(() => {
    if (session.data !== undefined) wasSignedIn.current = session.data !== null;
  }, [session.data]);

  if (session.data) {
    return (
      <SignedInProvider session={session.data}>
        <Shell>
          <Suspense fallback={null}>
            <Pages />
          </Suspense>
        </Shell>
      </SignedInProvider>
    );
  }
  if (session.data === null) return <SignInPage isExpired={wasSignedIn.current} />;
  if (session.isPending) return <Opening />;
  const remembered = rememberedShell();
  const offline = <Offline error={session.error} isRetrying={session.isFetching} onRetry={() => void session.refetch()} />;
  if (remembered === null) return <main className="min-h-dvh">{offline}</main>;
  return (
    <SignedInProvider session={remembered}>
      <Shell isCutOff>{offline}</Shell>
    </SignedInProvider>
  );
}

function Pages() {
  return (
    <Switch>
      <Route path="/">
        <Redirect to="/companies" replace />
      </Route>
      <Route path="/companies" component={CompanyListPage} />
      <Route path="/companies/:id">{({ id }) => <CompanyPage key={id} id={id} />}</Route>
      <Route path="/users" component={UsersPage} />
      <Route path="/export" component={ExportPage} />
      <Route component={NotFound} />
    </Switch>
  );
}
