# frozen_string_literal: true

require_relative 'tasker_core/version'
require_relative 'tasker_core/errors'
require_relative 'tasker_core/types'
require_relative 'tasker_core/models'
require_relative 'tasker_core/batch_processing'
require_relative 'tasker_core/step_handler'
require_relative 'tasker_core/handlers'
require_relative 'tasker_core/template_discovery'
require_relative 'tasker_core/registry'
require_relative 'tasker_core/domain_events'
require_relative 'tasker_core/execution'
require_relative 'tasker_core/logger'
require_relative 'tasker_core/tracing'
require_relative 'tasker_core/observability'
require_relative 'tasker_core/client'
require_relative 'tasker_core/worker'
require_relative 'tasker_core/test_environment'

# Step handlers for Tasker, and a worker and a client that speak to its server over HTTP.
#
# Requiring this opens no connection, starts no thread and reads no configuration.
module TaskerCore
  autoload :TestHelpers, File.expand_path('tasker_core/test_helpers', __dir__)

  # @return [Hash{Symbol => String}] the gem's version, under +:version+
  def self.version_info
    { version: VERSION }
  end
end
