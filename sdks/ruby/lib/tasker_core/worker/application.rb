# frozen_string_literal: true

require 'tasker_core/logger'
require 'tasker_core/registry'
require 'tasker_core/settings'
require 'tasker_core/types'
require 'tasker_core/worker/backoff'
require 'tasker_core/worker/errors'
require 'tasker_core/worker/health_endpoint'
require 'tasker_core/worker/session'
require 'tasker_core/worker/status'
require 'tasker_core/worker/step_worker'
require 'tasker_core/worker/templates'

module TaskerCore
  module Worker
    # A worker from its start to its end: waits for the server, registers templates and itself, works, says goodbye.
    class Application
      # Seconds between looks for handlers that were registered meanwhile.
      LOOK_SECONDS = 1.0

      # @return [Settings] how it runs
      attr_reader :settings

      # @param settings [Settings] how it runs
      # @param registry [Registry::HandlerRegistry] its handlers; more may be registered while it runs
      # @param require_handlers [Boolean] whether a start without any fails, instead of waiting for some
      def initialize(settings, registry: Registry::HandlerRegistry.instance, require_handlers: false)
        @settings = settings
        @require_handlers = require_handlers
        @registry = registry
        @session = Session.new(settings.server_url, name: settings.worker_name, concurrency: settings.concurrency,
                                                    credentials: settings.credentials)
        @templates = Templates.new(settings.template_path)
        @callables = []
        @lock = Mutex.new
        @stopped = ConditionVariable.new
        @stopping = false
        @worker = nil
        @status = Status.new(self)
      end

      # @return [Status] how it stands, for health checks
      attr_reader :status

      # @return [StepWorker, nil] what runs steps, once it does
      attr_reader :worker

      # @return [Array<String>] what the server is told that there are handlers for
      attr_reader :callables

      # @return [String, nil] the id that the server gave
      def worker_id = @session.worker_id

      # @return [Boolean] whether it is to stop
      def stopping? = @stopping

      # Works until {#stop}.
      # @yield once it takes steps, or waits for handlers
      # @raise [ServerUnavailable] the server did not come within the time that it may take
      # @raise [AccessRefused] the credentials are refused
      # @raise [StartFailed] a template is refused, or there are no handlers though they are required
      def run(&started)
        endpoint = HealthEndpoint.open(@settings.health_bind, @status)
        prepare
        wait_for_handlers(&started)
        work(&started) unless @stopping
      ensure
        @session.deregister
        endpoint&.close
      end

      # Takes no more steps; {#run} returns when the running handlers are done and reported.
      def stop
        @lock.synchronize do
          @stopping = true
          @stopped.broadcast
        end
        @worker&.stop
      end

      private

      def prepare
        patiently { @templates.register(@session) }
        @callables = known_callables
        warn_of_missing
      end

      def wait_for_handlers
        return unless @callables.empty?
        raise NoHandlers, 'there are no handlers: name files or directories that have some' if @require_handlers

        log(:warn, 'no_handlers', reason: 'waiting until some are registered')
        yield if block_given?
        pause(LOOK_SECONDS) while !@stopping && (@callables = known_callables).empty?
      end

      def work
        patiently { @session.register(@callables, namespaces) }
        start_worker
        log(:info, 'worker_started', worker: @session.name, engine: @settings.server_url,
                                     namespaces: namespaces || 'all', handlers: @callables.size)
        yield if block_given?
        watching_for_handlers { @worker.run }
        log(:info, 'worker_stopped', worker: @session.name, steps: @worker.counts.processed)
      end

      def start_worker
        worker = StepWorker.new(@session, @registry, concurrency: @settings.concurrency,
                                                     shutdown_timeout: @settings.shutdown_timeout)
        @lock.synchronize { @worker = worker }
        worker.stop if @stopping
      end

      # Tries until the server answers, for as long as the start may take.
      def patiently
        deadline = monotonic + @settings.wait_for
        backoff = Backoff.new
        begin
          yield unless @stopping
        rescue ServerUnavailable => e
          raise if monotonic >= deadline

          log(:warn, 'server_unavailable', duty: 'start', reason: e.message)
          pause([backoff.next(e.retry_after), deadline - monotonic].min)
          retry
        end
      end

      # -- handlers

      def watching_for_handlers
        over = false
        watcher = Thread.new { look_for_handlers until over || @stopping }
        watcher.name = 'tasker-registry'
        yield
      ensure
        over = true
        @lock.synchronize { @stopped.broadcast }
        watcher&.join
      end

      def look_for_handlers
        pause(LOOK_SECONDS)
        found = known_callables
        return if @stopping || found == @callables

        @session.register(found, namespaces)
        @callables = found
        log(:info, 'handlers_changed', handlers: found.size)
      rescue ServerUnavailable, RequestRefused, AccessRefused => e
        log(:warn, 'server_unavailable', duty: 'register', reason: e.message)
      end

      # The registered names, and what templates call that can be resolved.
      def known_callables
        names = @registry.registered_handlers.map(&:to_s)
        called = @templates.handlers.reject { |handler| names.include?(handler['callable']) }
        resolved = called.select { |handler| resolvable?(handler) }.map { |handler| handler['callable'] }
        (names + resolved).uniq.sort
      end

      def resolvable?(handler)
        !@registry.resolve_handler(Types::HandlerDefinition.from(handler)).nil?
      end

      def warn_of_missing
        missing = @templates.handlers.reject { |handler| resolvable?(handler) }
        return if missing.empty?

        log(:warn, 'handlers_missing', callables: missing.map { |handler| described(handler) }.uniq)
      end

      def described(handler)
        handler['method'] ? "#{handler['callable']} (method #{handler['method']})" : handler['callable']
      end

      def namespaces
        all = @settings.namespaces | @templates.namespaces
        all.empty? ? nil : all.sort
      end

      def pause(seconds)
        deadline = monotonic + seconds
        @lock.synchronize do
          @stopped.wait(@lock, [deadline - monotonic, 0.001].max) unless @stopping || monotonic >= deadline
        end
      end

      def log(level, event, **fields)
        Logger.instance.public_send(level, event, logger: StepWorker::LOGGER, **fields)
      end

      def monotonic
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
