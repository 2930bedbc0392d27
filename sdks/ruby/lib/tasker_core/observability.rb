# frozen_string_literal: true

require 'tasker_core/worker/bootstrap'

module TaskerCore
  # How the worker of this process stands; see {Worker::Bootstrap}.
  module Observability
    class << self
      # @return [Hash] that the process runs
      def health_basic = { status: 'healthy', worker_id: application&.worker_id }

      # @return [Hash] the same
      def health_live = { status: 'alive' }

      # @return [Hash] whether it takes steps, and if not, why
      def health_ready
        reasons = application ? application.status.reasons : ['it has not started yet']
        { status: reasons.empty? ? 'ready' : 'not_ready', reasons: reasons }
      end

      # @return [Hash] everything
      def health_detailed = Worker::Bootstrap.health_check

      # @return [Hash] what it has done: +:processed+, +:succeeded+, +:failed+, +:active+
      def metrics_worker
        counts = application&.worker&.counts
        { processed: counts&.processed || 0, succeeded: counts&.succeeded || 0, failed: counts&.failed || 0,
          active: application&.status&.active || 0 }
      end

      # @return [String] the same for Prometheus; empty before the start
      def prometheus_metrics = application ? application.status.metrics : ''

      # @return [Boolean] whether it takes steps
      def ready? = health_ready[:status] == 'ready'

      # @return [Boolean] whether the process runs
      def alive? = true

      private

      def application = Worker::Bootstrap.instance.application
    end
  end
end
