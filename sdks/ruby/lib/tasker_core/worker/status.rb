# frozen_string_literal: true

require 'tasker_core/version'

module TaskerCore
  module Worker
    # How a worker stands, as health checks tell it.
    class Status
      # @param application [Application] the worker
      def initialize(application)
        @application = application
        @started = monotonic
      end

      # @return [Boolean] whether it takes steps
      def ready?
        reasons.empty?
      end

      # @return [Array<String>] why it takes no steps; empty if it does
      def reasons
        worker = @application.worker
        reasons = []
        reasons << 'it is stopping' if @application.stopping?
        reasons << 'there are no handlers' if @application.callables.empty?
        reasons << 'it has not started yet' if worker.nil?
        reasons << 'the server does not answer' if worker && !worker.in_contact?
        reasons
      end

      # @return [Hash] everything
      def details
        counts = @application.worker&.counts
        {
          status: ready? ? 'healthy' : 'unhealthy', reasons: reasons, worker_id: @application.worker_id,
          name: @application.settings.worker_name, version: VERSION, running: !@application.worker.nil?,
          processed: counts&.processed || 0, failed: counts&.failed || 0, active: active,
          uptime_seconds: uptime.round(3), server: @application.settings.server_url,
          handlers: @application.callables
        }
      end

      # @return [String] the same for Prometheus
      def metrics
        counts = @application.worker&.counts
        <<~TEXT
          # TYPE tasker_worker_steps_total counter
          tasker_worker_steps_total{outcome="succeeded"} #{counts&.succeeded || 0}
          tasker_worker_steps_total{outcome="failed"} #{counts&.failed || 0}
          # TYPE tasker_worker_running_handlers gauge
          tasker_worker_running_handlers #{active}
          # TYPE tasker_worker_connected gauge
          tasker_worker_connected #{@application.worker&.in_contact? ? 1 : 0}
          # TYPE tasker_worker_uptime_seconds gauge
          tasker_worker_uptime_seconds #{uptime.round(3)}
        TEXT
      end

      # @return [Integer] steps that it holds
      def active = @application.worker&.running || 0

      # @return [Float] seconds since it was made
      def uptime = monotonic - @started

      private

      def monotonic
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end
    end
  end
end
