-- Makes room for the current functions, whatever arguments the old ones had. Those stay that columns are made of.
DO $$
DECLARE
    old regprocedure;
BEGIN
    FOR old IN
        SELECT oid FROM pg_proc
        WHERE pronamespace = 'tasker'::regnamespace AND proname <> 'derive_task_state'
    LOOP
        EXECUTE format('DROP FUNCTION %s', old);
    END LOOP;
END
$$;
