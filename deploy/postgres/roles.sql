-- Two roles in PostgreSQL for CostCurve. roles.sh runs this; running it again changes nothing but the passwords.
--   costcurve_owner  owns the tables, and migrates and restores them
--   costcurve_app    reads and writes rows; the service and the workers use it. It owns nothing and creates nothing
-- The role that runs it must be a superuser, or have CREATEROLE and own the database.
\set owner_password `cat "$OWNER_PASSWORD_FILE"`
\set app_password `cat "$APP_PASSWORD_FILE"`

SET client_min_messages = warning;
BEGIN;

SELECT format('CREATE ROLE %I', name)
FROM (VALUES ('costcurve_owner'), ('costcurve_app')) AS roles (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE costcurve_owner LOGIN PASSWORD :'owner_password';
ALTER ROLE costcurve_app LOGIN PASSWORD :'app_password';
-- A role that is no superuser changes a role's default privileges only as its member.
GRANT costcurve_owner TO CURRENT_USER;

-- By default, every role may connect, create temporary tables and, before PostgreSQL 15, create tables.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO costcurve_owner, costcurve_app', current_database()) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO costcurve_owner;
GRANT USAGE ON SCHEMA public TO costcurve_app;

-- Tables that an older installation made as another role. Their sequences follow.
SELECT format('ALTER TABLE public.%I OWNER TO costcurve_owner', relname)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relowner <> 'costcurve_owner'::regrole \gexec

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO costcurve_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO costcurve_app;
-- The same for tables that later migrations create.
ALTER DEFAULT PRIVILEGES FOR ROLE costcurve_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO costcurve_app;
ALTER DEFAULT PRIVILEGES FOR ROLE costcurve_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO costcurve_app;

COMMIT;
