# frozen_string_literal: true

require 'monitor'
require 'singleton'
require 'tasker_core/logger'
require 'tasker_core/settings'
require 'tasker_core/worker/application'
require 'tasker_core/worker/errors'
require 'tasker_core/worker/signals'

module TaskerCore
  module Worker
    # The worker of an application: in its process, on threads of its own. There is one in a process.
    #
    # @example
    #   TaskerCore::Worker::Bootstrap.start!(namespace: 'shop')
    #   sleep
    class Bootstrap
      include Singleton

      class << self
        # Starts the worker. See {#start!}.
        def start!(...) = instance.start!(...)

        # Stops the worker. See {#shutdown!}.
        def shutdown! = instance.shutdown!

        # @return [Boolean] whether it takes steps
        def running? = instance.running?

        # @return [Symbol] +:initialized+, +:running+, +:shutting_down+ or +:stopped+
        def status = instance.status

        # @return [Hash] how it stands
        def health_check = instance.health_check

        # @yield when the worker is to stop
        def on_shutdown(&block) = instance.on_shutdown(&block)
      end

      # @return [Application, nil] the worker, once it was started
      attr_reader :application

      def initialize
        @lock = Monitor.new
        @callbacks = []
        @status = :initialized
        @pid = Process.pid
      end

      # Starts the worker, and returns once it takes steps. Does nothing if it runs already.
      #
      # @param engine_url [String, nil] the server; by default TASKER_ORCHESTRATION_URL, or http://localhost:8080
      # @param namespace [String, Array<String>, nil] where to take steps from, besides the templates' namespaces; by
      #   default TASKER_NAMESPACE; everywhere if there is neither this nor a template
      # @param worker_id [String, nil] its name in the history; by default TASKER_WORKER_ID, or ruby_worker
      # @param max_concurrent [Integer, nil] handlers that run at once; 10 by default
      # @param handle_signals [Boolean, nil] whether SIGINT and SIGTERM stop worker and process; by default only those
      #   that nobody else handles, and none inside of Rails and Puma
      # @param handler_directories [Array<String>] whose Ruby files are loaded before; by default those where handlers
      #   usually are, such as +app/handlers+, and none inside of Rails, which loads by itself
      # @param more [Hash] other settings: +shutdown_timeout+, +wait_for+, +template_path+, +health_bind+
      # @return [Bootstrap]
      # @raise [StartFailed, ServerUnavailable, AccessRefused, Settings::InvalidError] it cannot start
      def start!(engine_url: nil, namespace: nil, worker_id: nil, max_concurrent: nil, handle_signals: nil,
                 handler_directories: usual_directories, **more)
        @lock.synchronize do
          return self if running?

          Registry::HandlerRegistry.instance.load_handlers(handler_directories)
          settings = Settings.new(server_url: engine_url, namespaces: namespace && Array(namespace),
                                  worker_name: worker_id, concurrency: max_concurrent, **more)
          start_application(settings)
          install_signals(handle_signals)
        end
        self
      end

      # Lets running handlers finish, and reports them; returns when that is done. Does nothing if none runs.
      def shutdown!
        application, thread = @lock.synchronize do
          return self unless running?

          @status = :shutting_down
          [@application, @thread]
        end
        call_back
        application.stop
        thread.join
        self
      end

      # @return [Boolean] whether it takes steps
      def running? = status == :running

      # @return [Symbol] +:initialized+, +:running+, +:shutting_down+ or +:stopped+. A process that was forked from one
      #   with a worker has none.
      def status
        @pid == Process.pid ? @status : :initialized
      end

      # @return [Hash] +:healthy+, +:status+, and what else is known of the worker
      def health_check
        details = @application&.status&.details || {}
        { **details, healthy: running? && details[:status] == 'healthy', status: status }
      end

      # @yield when the worker is to stop, before it does
      def on_shutdown(&block)
        @lock.synchronize { @callbacks << block }
        self
      end

      private

      def usual_directories
        defined?(::Rails) ? [] : Registry::HandlerRegistry::HANDLER_DIRECTORIES
      end

      def start_application(settings)
        @pid = Process.pid
        application = @application = Application.new(settings)
        outcome = Thread::Queue.new
        @thread = Thread.new { serve(application, outcome) }
        @thread.name = 'tasker-worker'
        @thread.report_on_exception = false
        error = outcome.pop
        raise error if error
      end

      # Puts nil into the queue once it runs, else the error.
      def serve(application, outcome)
        application.run do
          @status = :running
          outcome << nil
        end
        outcome << StartFailed.new('it was stopped before it had started')
      rescue StandardError => e
        outcome << e
        Logger.instance.error('worker_failed', logger: StepWorker::LOGGER, reason: e.message)
      ensure
        @status = :stopped
        @signals&.restore
        @signals = nil
      end

      def install_signals(wanted)
        return if wanted == false || (wanted.nil? && (defined?(::Rails) || defined?(::Puma)))

        @signals = Signals.handle(only_defaults: wanted.nil?) do
          shutdown!
          # Ends whatever the main thread waits for.
          Thread.main.raise(SystemExit.new(0))
        end
      end

      def call_back
        @lock.synchronize { @callbacks.dup }.each do |callback|
          callback.call
        rescue StandardError => e
          Logger.instance.error('shutdown_callback_failed', logger: StepWorker::LOGGER, reason: e.message)
        end
      end
    end
  end
end
